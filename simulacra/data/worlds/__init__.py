"""Made-up data whose exact truth is known."""
