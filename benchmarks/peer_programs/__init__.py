"""Programs for the peers; they run in the peers' own environments."""
