"""What everything that talks to PostgreSQL shares: connections, errors, progress."""
