"""Logs: partitioned, ordered, replayable. A landing and a topic are both logs."""
