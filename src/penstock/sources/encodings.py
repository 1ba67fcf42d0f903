"""Unpacks compressed bodies so that one that was cut off is never taken for a whole one."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

ACCEPTED = "gzip, deflate"
"""What a source says it can unpack."""

_GZIP, _ZLIB, _RAW = 31, 15, -15
_PIECE = 256 * 1024
_Inflater = Callable[[bytes], "zlib._Decompress"]


class BadBody(Exception):
    """A body that cannot be unpacked to its end; what came before it was given."""


def unpack(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Undo a body's content encoding, piece by piece.

    Args:
        chunks: The body as it is sent.
        encoding: The header `Content-Encoding`, `""` when there is none.

    Raises:
        BadBody: It breaks off, is damaged, or packed in a way that was not asked for.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return iter(chunks)
    if name in ("gzip", "x-gzip"):
        return _inflated(chunks, lambda start: zlib.decompressobj(_GZIP), padded=True)
    if name == "deflate":
        return _inflated(chunks, lambda start: zlib.decompressobj(_wrapping(start)), padded=False)
    raise BadBody(f"it is packed as {encoding!r}, but only {ACCEPTED} was asked for")


def _inflated(chunks: Iterable[bytes], new: _Inflater, *, padded: bool) -> Iterator[bytes]:
    """Inflate one member after the other; zeros between and after them are padding in gzip."""
    member = None
    for chunk in chunks:
        rest = chunk
        while rest:
            if member is None and padded and not (rest := rest.lstrip(b"\0")):
                break
            member = member or new(rest)
            yield from _pieces(member, rest)
            rest = member.unused_data
            member = None if member.eof else member
    if member is not None:
        raise BadBody("the compressed body ends before its end")


def _pieces(member: zlib._Decompress, packed: bytes) -> Iterator[bytes]:
    """All that comes of some packed bytes, never much at once: a bomb must not fill the memory."""
    while not member.eof:
        try:
            piece = member.decompress(packed, _PIECE)
        except zlib.error as error:
            raise BadBody(f"it is damaged: {error}") from None
        packed = member.unconsumed_tail
        if piece:
            yield piece
        if not packed and len(piece) < _PIECE:
            return


def _wrapping(start: bytes) -> int:
    """Deflate comes in a zlib wrapping by the book, and raw from some servers."""
    header = int.from_bytes(start[:2], "big")
    is_zlib = start[0] & 0x0F == zlib.DEFLATED and (len(start) < 2 or header % 31 == 0)
    return _ZLIB if is_zlib else _RAW
