"""Walks through what a model has learned: interpolation, arithmetic, closed walks, principal directions, inversion.

Every module asks for capabilities (`capabilities.HasPrior`, `Decodes`, `Encodes`), never for a kind of model.
"""
