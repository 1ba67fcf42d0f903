"""What Penstock keeps of its own: leases, open batches, ledger, dead letters, contracts."""
