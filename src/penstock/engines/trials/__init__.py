"""Trials of a user's own program: `crashtest` kills it, `parity` runs it on two engines."""
