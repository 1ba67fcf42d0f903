"""Where a cluster tells its clients to go."""

from __future__ import annotations

from penstock.logs.kafka.client import admin


def brokers(url: str) -> list[str]:
    """Ask a Kafka cluster for the addresses, `host:port`, that its brokers advertise.

    Args:
        url: Of the cluster.

    Raises:
        Unavailable: It does not answer.
        Refused: The login fails.
    """
    asking = admin(url)
    found = asking.result(asking.client.describe_cluster())
    return sorted(f"{node.host}:{node.port}" for node in found.nodes)
