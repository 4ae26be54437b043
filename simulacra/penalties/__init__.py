"""Penalties: pure functions of a network and inputs, in float32, which advance no buffer."""
