"""Topics of Kafka as logs, and the sink that writes them. Needs the extra `penstock[kafka]`."""

from importlib.util import find_spec

from penstock.errors import ProfileError

if find_spec("confluent_kafka") is None:
    raise ProfileError("kafka:// needs an extra; pip install 'penstock[kafka]'")

from penstock.logs.kafka.log import KafkaLog, compacted, identity, open_topic

__all__ = ["KafkaLog", "compacted", "identity", "open_topic"]
