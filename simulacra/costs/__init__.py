"""Costs: pure functions on tensors, one value per sample `[N]`, which compute and never step."""
