"""Decodes many JSON documents fast, into columns, and says which of them it did not prove.

Each document is decoded by itself into a typed struct (msgspec: compiled, strict); then every
field becomes a column, and strings are read as UUIDs, datetimes, … for all rows at once. A
document is in doubt when

* msgspec refuses it, or a value is not in the common form of its type;
* it may name a field twice: msgspec would keep the last. The proof that none does: the struct
  encoded again is the document, byte for byte; or else no name is written with escapes, and the
  names of fields occur, with a colon behind, as often as fields were found in the document;
* it may be nested too deep: it has more opening brackets than levels allowed;
* it may hold a NUL.

The first kind is left to `exact` for good; the others only until `exact` has looked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from operator import eq
from typing import Any

import msgspec
import polars as pl

from penstock.contract.columns import NOTHING, objects
from penstock.contract.documents import DEPTH, LARGEST
from penstock.contract.forms import utf8
from penstock.contract.spec import ContractSpec
from penstock.contract.structs import decoder
from penstock.contract.types import Field, NestedType

FEW = 50
"""Up to so many documents `exact` is faster: queries over columns cost the same for any number."""

SPACE = r"[ \t\r\n]*"
ESCAPED_NAME = rf'\\.[^"\\]*"{SPACE}:'
NUL = r"\u0000"
AWKWARD_NAME = r'["\\\x00-\x1f]|\A[\s,:\]}]|\A\z'


_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Table:
    """What the fast way read.

    Args:
        rows: The contract's columns and `_at`, the document's number.
        refused: Numbers of the documents that gave no row.
        doubtful: Numbers of those whose rows hold unless a name is doubled or nested too deep.
    """

    rows: pl.DataFrame
    refused: list[int]
    doubtful: list[int]


def read(spec: ContractSpec, documents: list[bytes]) -> Table:
    """Read documents, each by itself; see `Table`."""
    structs, refused = _structs(spec, documents)
    numbers = pl.Series("_at", range(len(documents)), dtype=pl.UInt32)
    kept = documents
    if refused:
        gone = set(refused)
        kept = [document for at, document in enumerate(documents) if at not in gone]
        numbers = numbers.filter(~numbers.is_in(refused))
    found = objects(spec.fields, structs)
    texts = utf8(pl.Series("text", kept, dtype=pl.Binary))
    wrong = _wrong(texts, found.doubt)
    rows = found.frame.hstack([numbers])
    if wrong.any():
        rows = rows.filter(~wrong)
        refused += numbers.filter(wrong).to_list()
    proven = _proven(structs, kept)
    if proven.all():
        return Table(rows, refused, [])
    doubled = _doubled(spec, texts.zip_with(~proven, NOTHING), found.names)
    return Table(rows, refused, numbers.filter(doubled & ~wrong).to_list())


def _structs(spec: ContractSpec, documents: list[bytes]) -> tuple[list[Any], list[int]]:
    """Decode each document; return the structs and the numbers of the refused ones."""
    decode = decoder(spec).decode
    structs: list[Any] = []
    refused: list[int] = []
    rest = iter(documents)
    while True:
        try:
            structs.extend(map(decode, rest))  # what came before an error is kept
        except (ValueError, RecursionError):  # `exact` finds out why
            refused.append(len(structs) + len(refused))
        else:
            return structs, refused


def _proven(structs: list[Any], documents: list[bytes]) -> pl.Series:
    """Where a document is just its fields; not looked at unless the first one is."""
    if not structs or _encode(structs[0]) != documents[0]:
        return pl.repeat(False, len(structs), dtype=pl.Boolean, eager=True)
    return pl.Series(map(eq, map(_encode, structs), documents), dtype=pl.Boolean)


def _wrong(texts: pl.Series, doubt: pl.Series) -> pl.Series:
    """Where a row must be read by `exact`, whatever else is true of it."""
    text = pl.col("text")
    odd = text.str.contains(NUL, literal=True) | (text.str.len_bytes() > LARGEST)
    wrong = (pl.col("doubt") | odd).fill_null(True)
    return pl.DataFrame([texts, doubt]).select_seq(wrong.alias("wrong")).to_series()


def _doubled(spec: ContractSpec, texts: pl.Series, found: pl.Series) -> pl.Series:
    """Where a document may name a field twice or be nested too deep; null is neither."""
    text = pl.col("text")
    names = names_pattern(frozenset(_names(spec.fields)))
    doubled = text.is_not_null()
    if names is not None:
        doubled = text.str.count_matches(names) != pl.col("names")
    deep = text.str.count_matches(r"[\[{]") > DEPTH
    escaped = text.str.contains(ESCAPED_NAME)
    suspect = (doubled | deep | escaped).fill_null(False)
    return pl.DataFrame([texts, found]).select_seq(suspect).to_series()


@cache
def names_pattern(names: frozenset[str]) -> str | None:
    """Match any of the names in JSON with its colon; None when one could be read amiss.

    A match begins at a quote. If that is the closing quote of a string, a comma, colon or
    bracket comes next, with which no name begins; so matches are names, and all of them.
    """
    ordered = pl.Series(sorted(names), dtype=pl.String)
    if ordered.str.contains(AWKWARD_NAME).any():
        return None
    return f'"(?:{"|".join(map(pl.escape_regex, ordered))})"{SPACE}:'


def _names(fields: Sequence[Field]) -> set[str]:
    inner = [f.type.inmost for f in fields]
    nested = [_names(type.fields) for type in inner if isinstance(type, NestedType)]
    return {f.json_name for f in fields}.union(*nested)
