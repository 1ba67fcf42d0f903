"""Which partition a key goes to: the same as Kafka's default partitioner says."""

from __future__ import annotations

from functools import cache

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
    sizes = keys.bin.size().alias("size")
    if sizes.n_unique() == 1:
        hashes = _hashes(keys, sizes[0])
    else:
        frame = pl.DataFrame([keys.alias("key"), sizes]).with_row_index("at")
        hashed = [
            pl.DataFrame({"at": group["at"], "hash": _hashes(group["key"], int(str(size)))})
            for (size,), group in frame.group_by("size")
        ]
        hashes = pl.concat(hashed).sort("at")["hash"]
    return ((hashes & POSITIVE) % partitions).cast(pl.Int32).alias("partition")


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
    """Hash keys of one size, all at once."""
    if not 0 < size <= LONG:
        return pl.Series([murmur2(key) for key in keys.to_list()], dtype=pl.UInt32)
    frame = keys.to_frame("key")
    for step in _steps(size):
        frame = frame.select_seq(step)
    return frame.to_series()


@cache
def _steps(size: int) -> list[list[pl.Expr]]:
    """Compose the same steps as `murmur2`; what is used twice is a column of the step before.

    Arithmetic on UInt32 wraps, as Java's does.
    """
    multiplier = pl.lit(MULTIPLIER, pl.UInt32)
    places = [(start, min(4, size - start)) for start in range(0, size, 4)]
    words = [_word(*place).alias(f"k{place[0]}") for place in places]
    h, mixed = pl.col("h"), pl.repeat(SEED ^ size, pl.len(), dtype=pl.UInt32)
    for start, length in places:
        k = pl.col(f"k{start}")
        mixed = (mixed * multiplier) ^ k if length == 4 else (mixed ^ k) * multiplier
    return [
        [w * multiplier if n == 4 else w for w, (_, n) in zip(words, places, strict=True)],
        [
            ((k ^ (k // 2**24)) * multiplier) if n == 4 else k
            for k, n in ((pl.col(f"k{start}"), n) for start, n in places)
        ],
        [mixed.alias("h")],
        [(h ^ (h // 2**13)) * multiplier],
        [h ^ (h // 2**15)],
    ]


def _word(start: int, size: int) -> pl.Expr:
    """Read up to four bytes of each key as a little-endian number."""
    part = pl.col("key").bin.slice(start, size)
    padded = part if size == 4 else part + pl.lit(bytes(4 - size))
    return padded.bin.reinterpret(dtype=pl.UInt32, endianness="little")
