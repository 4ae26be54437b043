"""Augmentations of what a discriminator sees: pure functions of images and of uniform numbers given from outside, so
that results depend neither on ranks nor on micro-batches."""
