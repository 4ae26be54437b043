"""Features: what networks say of images, so that sets of images can be compared; one extractor per file."""
