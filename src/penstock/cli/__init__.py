"""The command `penstock`: one module per command, and what they share."""
