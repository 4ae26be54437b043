"""Data sets: one way to open them, one spec, and batches whose order is a function of the seed."""

from simulacra.data.feed import Batch, Feed
from simulacra.data.source import Source, describe
from simulacra.data.spec import Spec
from simulacra.data.words import data_words, open_data

__all__ = ["Batch", "Feed", "Source", "Spec", "data_words", "describe", "open_data"]
