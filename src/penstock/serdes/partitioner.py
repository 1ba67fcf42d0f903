"""Which partition a key goes to: the same as Kafka's default partitioner says."""

from __future__ import annotations

import polars as pl

MASK = 0xFFFFFFFF
MULTIPLIER = 0x5BD1E995
SEED = 0x9747B28C


def partition_of(keys: pl.Series, partitions: int) -> pl.Series:
    """Tell each key's partition: murmur2 of its bytes, its sign dropped, modulo `partitions`.

    Args:
        keys: A Binary series without nulls.
        partitions: How many the topic has, at least 1.
    """
    if partitions == 1:
        return pl.zeros(len(keys), pl.Int32, eager=True).alias("partition")
    numbers = [(murmur2(key) & 0x7FFFFFFF) % partitions for key in keys.to_list()]
    return pl.Series("partition", numbers, dtype=pl.Int32)


def murmur2(data: bytes) -> int:
    """Hash bytes as Kafka's `Utils.murmur2` does, as an unsigned number of 32 bits."""
    length = len(data)
    h = (SEED ^ length) & MASK
    whole = length & ~3
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * MULTIPLIER & MASK
        k = (k ^ (k >> 24)) * MULTIPLIER & MASK
        h = (h * MULTIPLIER & MASK) ^ k
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * MULTIPLIER & MASK
    h = (h ^ (h >> 13)) * MULTIPLIER & MASK
    return h ^ (h >> 15)
