"""PostgreSQL as a source: rows by a growing column, and changes by logical replication."""
