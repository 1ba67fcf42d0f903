"""Which partition a key goes to: the same as Kafka's default partitioner says."""

from __future__ import annotations

import polars as pl

MASK = 0xFFFFFFFF
POSITIVE = 0x7FFFFFFF
MULTIPLIER = 0x5BD1E995
SEED = 0x9747B28C
LONG = 256
"""Keys of more bytes are hashed one by one: a column step for each four bytes would not pay."""
FEW = 128
"""Nor would it for so few keys."""


def partition_of(keys: pl.Series, partitions: int) -> pl.Series:
    """Tell each key's partition: murmur2 of its bytes, its sign dropped, modulo `partitions`.

    Args:
        keys: A Binary series without nulls.
        partitions: How many the topic has, at least 1.
    """
    if partitions == 1:
        return pl.zeros(len(keys), pl.Int32, eager=True).alias("partition")
    if len(keys) <= FEW:
        numbers = [(murmur2(key) & POSITIVE) % partitions for key in keys.to_list()]
        return pl.Series("partition", numbers, dtype=pl.Int32)
    frame = pl.DataFrame({"key": keys}).with_row_index("at")
    groups = frame.group_by(pl.col("key").bin.size().alias("size"))
    hashed = [
        pl.DataFrame({"at": group["at"], "hash": _hashes(group["key"], int(str(size)))})
        for (size,), group in groups
    ]
    positive = pl.col("hash") & POSITIVE
    every = pl.concat(hashed).sort("at").select((positive % partitions).cast(pl.Int32))
    return every.to_series().alias("partition")


def murmur2(data: bytes) -> int:
    """Hash bytes as Kafka's `Utils.murmur2` does, as an unsigned number of 32 bits."""
    h = (SEED ^ len(data)) & MASK
    whole = len(data) & ~3
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * MULTIPLIER & MASK
        k = (k ^ (k >> 24)) * MULTIPLIER & MASK
        h = (h * MULTIPLIER & MASK) ^ k
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * MULTIPLIER & MASK
    h = (h ^ (h >> 13)) * MULTIPLIER & MASK
    return h ^ (h >> 15)


def _hashes(keys: pl.Series, size: int) -> pl.Series:
    """Hash keys of one size, all at once: the same steps as `murmur2` on columns.

    Arithmetic on UInt32 wraps, as Java's does.
    """
    if size > LONG:
        return pl.Series([murmur2(key) for key in keys.to_list()], dtype=pl.UInt32)
    multiplier = pl.Series([MULTIPLIER], dtype=pl.UInt32)
    h = pl.Series([SEED ^ size], dtype=pl.UInt32).new_from_index(0, len(keys))
    whole = size & ~3
    for start in range(0, whole, 4):
        k = _word(keys, start, 4) * multiplier
        k = (k ^ (k // 2**24)) * multiplier
        h = (h * multiplier) ^ k
    if size > whole:
        h = (h ^ _word(keys, whole, size - whole)) * multiplier
    h = (h ^ (h // 2**13)) * multiplier
    return h ^ (h // 2**15)


def _word(keys: pl.Series, start: int, size: int) -> pl.Series:
    """Read up to four bytes of each key as a little-endian number."""
    padding = pl.lit(bytes(4 - size))
    part = pl.col("key").bin.slice(start, size)
    padded = part if size == 4 else part + padding
    number = padded.bin.reinterpret(dtype=pl.UInt32, endianness="little")
    return keys.to_frame("key").select(number).to_series()
