"""How Spark's own Kafka source reads a segment's topic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.engines.spark.messages import COLUMNS
from penstock.logs.kafka import address

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_FETCHED = 64 << 20
"""About how many bytes an executor's consumers, one for each partition, may have fetched ahead."""

_LOGINS = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


def stream(
    session: SparkSession,
    url: str,
    topic: str,
    starts: Mapping[int, int],
    options: Mapping[str, str],
) -> DataFrame:
    """Read a topic as it grows: what is committed, from these offsets on.

    Args:
        session: Spark's.
        url: Of the Kafka cluster.
        topic: Its name.
        starts: For each partition that is read the first offset; others are not read.
        options: Of Spark's Kafka source.
    """
    reader = session.readStream.format("kafka")
    # After each poll Spark's consumer asks where the log begins and ends.
    large = {
        "kafka.max.poll.records": "5000",
        "kafka.max.partition.fetch.bytes": str(max(1 << 20, min(4 << 20, _FETCHED // len(starts)))),
        "kafka.receive.buffer.bytes": str(1 << 20),
    }
    fixed = {
        "assign": json.dumps({topic: sorted(starts)}),
        "startingOffsets": json.dumps({topic: {str(p): at for p, at in starts.items()}}),
        "includeHeaders": "true",
        "failOnDataLoss": "true",
        "kafka.isolation.level": "read_committed",
        # Spark's consumer seeks after each poll, and so waits for what it had asked for before.
        "kafka.fetch.max.wait.ms": "5",
    }
    return (
        reader.options(**{**_client(url), **large, **options, **fixed}).load().selectExpr(*COLUMNS)
    )


def _client(url: str) -> dict[str, str]:
    """Turn an address into settings of Kafka's Java client; no file is needed on executors."""
    given = {name: str(value) for name, value in address.read(url).settings.items()}
    client = {
        "bootstrap.servers": given["bootstrap.servers"],
        "security.protocol": given["security.protocol"].upper(),
    }
    if "ssl.ca.location" in given:
        client["ssl.truststore.type"] = "PEM"
        client["ssl.truststore.certificates"] = _text(given["ssl.ca.location"])
    if "ssl.certificate.location" in given:
        client["ssl.keystore.type"] = "PEM"
        client["ssl.keystore.certificate.chain"] = _text(given["ssl.certificate.location"])
        client["ssl.keystore.key"] = _text(given["ssl.key.location"])
    if "sasl.mechanism" in given:
        client["sasl.mechanism"] = given["sasl.mechanism"]
        client["sasl.jaas.config"] = (
            f"{_LOGINS[given['sasl.mechanism']]} required"
            f" username={_quoted(given['sasl.username'])}"
            f" password={_quoted(given['sasl.password'])};"
        )
    return {f"kafka.{name}": value for name, value in client.items()}


def _text(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
