"""Proves that every record is accounted for: ledger, stores, topics, rows."""
