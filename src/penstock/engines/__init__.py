"""What moves records: the worker, the coordinator and the engine that runs them here."""
