"""Topics of Kafka as logs, and the sink that writes them."""
