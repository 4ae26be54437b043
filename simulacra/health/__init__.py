"""Whether a training goes well: detectors that name in words what goes wrong, and what to try."""
