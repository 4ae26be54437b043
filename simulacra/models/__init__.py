"""Models: one file per system: its networks composed, its costs as the paper writes them, its game."""
