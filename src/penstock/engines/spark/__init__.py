"""The Spark engine: micro-batches whose plan runs on the executors of a cluster."""
