"""Codecs of topics whose schemas are in a registry: a magic byte, the schema's id, the record.

The first byte is 0, the next four are the id of the schema that the record was written with, the
rest is the record: JSON, or Avro's binary form.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from threading import Lock
from typing import Any, Protocol

import polars as pl

from penstock import contract
from penstock.contract import ContractSpec, Decoded, Failure
from penstock.contract.checks import broken, rules
from penstock.contract.decode import PLACE, PLAIN
from penstock.contract.documents import Problem, show
from penstock.errors import ContractError, Refused
from penstock.interfaces import Framing
from penstock.profile import AVRO, JSON_SCHEMA
from penstock.records import WHOLE, Cause
from penstock.serdes import registry as registries
from penstock.serdes.avro import decode as avro
from penstock.serdes.avro.encode import behind, encode
from penstock.serdes.avro.parse import SchemaError, parse
from penstock.serdes.avro.resolve import resolve
from penstock.serdes.avro.schema import avro_schema
from penstock.serdes.registry import Registry, Schema

HEAD = 5
"""Bytes before the record."""

_DRAFT = "http://json-schema.org/draft-07/schema#"
"""The latest that Apicurio compares versions of. A contract needs nothing that came later."""

_UNKNOWN_FOR = 60.0
"""Seconds until an id that the registry did not know is looked up again."""


class Form(Protocol):
    """One of the forms that a record can have behind its schema's id."""

    format: str
    kind: str
    """What a registry calls its schemas."""

    def schema(self, spec: ContractSpec, topic: str) -> str:
        """Write a contract as a schema."""

    def decode(
        self, spec: ContractSpec, schema: Schema, payloads: pl.Series
    ) -> tuple[pl.DataFrame, list[Failure]]:
        """Decode payloads of one schema: rows with `_row`, and failures."""

    def encode(self, spec: ContractSpec, rows: pl.DataFrame, head: bytes) -> pl.Series:
        """Encode rows behind a head."""

    def breaks(self, spec: ContractSpec, schema: Schema) -> str:
        """Say why records of an older schema would not fit a contract; nothing if they may."""


class RegisteredCodec:
    """The codec of one topic, with its schemas in a registry under the subject `<topic>-value`.

    Args:
        form: What the records look like.
        topic: The topic.
        registry: Asked for schemas; None for a codec made of what another one has learnt.
        schemas: What is known already, by id; None is an id that the registry does not know.
    """

    def __init__(
        self,
        form: Form,
        topic: str,
        registry: Registry | None,
        schemas: Mapping[int, Schema | None] | None = None,
    ) -> None:
        self.format = form.format
        self._form = form
        self._topic = topic
        self._registry = registry
        self._schemas: dict[int, Schema | None] = dict(schemas or {})
        self._unknown_until: dict[int, float] = {}
        self._ids: dict[str, int] = {}
        self._lock = Lock()

    @property
    def _subject(self) -> str:
        return f"{self._topic}-value"

    def prepare(self, records: pl.DataFrame) -> None:
        if self._registry is None:
            return
        values = records["value"].drop_nulls()
        for number in _ids(values).drop_nulls().unique():
            with self._lock:
                if self._lacks(number):
                    self._learn(number, self._registry.schema(number))

    def _lacks(self, number: int) -> bool:
        if number not in self._schemas:
            return True
        return self._unknown_until.get(number, float("inf")) < time.monotonic()

    def _learn(self, number: int, schema: Schema | None) -> None:
        self._schemas[number] = schema
        if schema is None:
            self._unknown_until[number] = time.monotonic() + _UNKNOWN_FOR
        else:
            self._unknown_until.pop(number, None)

    def decode(self, spec: ContractSpec, values: pl.Series, framing: Framing = PLAIN) -> Decoded:
        if framing != PLAIN:
            raise ValueError("a value of a topic is one record")
        frame = pl.DataFrame({"value": values, "id": _ids(values)}).with_row_index("row")
        parts = [self._part(spec, number, part) for (number,), part in frame.group_by("id")]
        empty = pl.DataFrame(schema={**spec.polars, "_row": pl.UInt32})
        rows = pl.concat([empty, *(part for part, _ in parts)]).sort("_row")
        failures = [failure for _, some in parts for failure in some]
        rows = rows.with_columns(_index=pl.lit(0, pl.Int64)).select(*spec.polars, *PLACE)
        bad = dict(broken(rows, rules(spec, domain=False)))
        if bad:
            failures += [Failure(rows["_row"][at], 0, cause) for at, cause in bad.items()]
            rows = rows.filter(~pl.int_range(pl.len()).is_in(list(bad)))
        return Decoded(rows, sorted(failures, key=lambda failure: failure.row))

    def _part(
        self, spec: ContractSpec, number: Any, part: pl.DataFrame
    ) -> tuple[pl.DataFrame, list[Failure]]:
        """Decode values of one schema; without an id they are not in this form at all."""
        numbers = part["row"]
        nothing = pl.DataFrame(schema={**spec.polars, "_row": pl.UInt32})
        if number is None:
            return nothing, [
                Failure(r, WHOLE, _headless(v)) for r, v in part.select("row", "value").iter_rows()
            ]
        if number not in self._schemas:
            raise RuntimeError(f"values of schema {number} are decoded that were not prepared")
        schema = self._schemas[number]
        if cause := self._unusable(number, schema):
            return nothing, [Failure(row, WHOLE, cause) for row in numbers]
        assert schema is not None  # noqa: S101
        payloads = part.select(pl.col("value").bin.slice(HEAD)).to_series()
        rows, failures = self._form.decode(spec, schema, payloads)
        rows = rows.with_columns(numbers.gather(rows["_row"]).alias("_row"))
        return rows, [Failure(numbers[f.row], f.index, f.cause) for f in failures]

    def _unusable(self, number: int, schema: Schema | None) -> Cause | None:
        if schema is None:
            return Cause("decode", "a schema that the registry does not know", value=str(number))
        if schema.kind != self._form.kind:
            rule = f"expected a schema of {self._form.kind}, got one of {schema.kind}"
            return Cause("decode", rule, value=str(number))
        return None

    # --- writing ----------------------------------------------------------------------------------

    def register(self, spec: ContractSpec) -> None:
        if spec.fingerprint in self._ids or self._registry is None:
            return
        text = self._form.schema(spec, self._topic)
        try:
            number = self._registry.known(self._subject, self._form.kind, text)
            if number is None:
                self._registry.begin(self._subject)
                number = self._registry.register(self._subject, self._form.kind, text)
        except ContractError as error:
            raise self._incompatible(spec, [str(error)]) from None
        self._ids[spec.fingerprint] = number

    def preview(self, spec: ContractSpec) -> Sequence[str]:
        if self._registry is None:
            return ()
        kind, text = self._form.kind, self._form.schema(spec, self._topic)
        if self._registry.known(self._subject, kind, text) is not None:
            return ()
        begun = self._registry.first_level(self._subject)
        level = begun or self._registry.level(self._subject)
        if not begun and level != registries.NONE:
            found = self._registry.breaks(self._subject, kind, text)
            if found is not None:
                raise self._incompatible(spec, found)
        latest = self._registry.latest(self._subject)
        version = f"version {latest.version + 1}" if latest else "a first version"
        return [
            f"register {version} of {self._subject!r} ({kind}, compatibility {level}) in the "
            f"registry {self._registry.place}"
        ]

    def _incompatible(self, spec: ContractSpec, words: Sequence[str]) -> ContractError:
        assert self._registry is not None  # noqa: S101
        latest = self._registry.latest(self._subject)
        own = self._form.breaks(spec, latest) if latest else ""
        what = "; ".join(filter(None, [own, *words])) or "it does not say why"
        return ContractError(
            f"the registry {self._registry.place} does not take {spec.name} (declared at "
            f"{spec.file}:{spec.line}) as the next version of {self._subject!r}, by the "
            f"compatibility {self._registry.level(self._subject)}: {what}. Change the contract "
            "back, give the new form another topic, or set the subject's compatibility in the "
            "registry"
        )

    def encode(self, spec: ContractSpec, rows: pl.DataFrame) -> pl.Series:
        number = self._ids.get(spec.fingerprint)
        if number is None:
            raise Refused(
                f"the contract {spec.name} of topic {self._topic!r} is not registered yet; "
                "start the run again"
            )
        return self._form.encode(spec, rows, b"\0" + number.to_bytes(4, "big"))

    def to_json(self) -> Mapping[str, Any]:
        with self._lock:
            schemas = [
                [number, schema and [schema.kind, schema.text, list(schema.references)]]
                for number, schema in self._schemas.items()
            ]
        return {"format": self.format, "topic": self._topic, "schemas": schemas}


def _ids(values: pl.Series) -> pl.Series:
    """Read the schema's id of each value; null where there is none."""
    value = pl.col("value")
    head = value.bin.starts_with(b"\0") & (value.bin.size() > HEAD)
    number = value.bin.slice(1, 4).bin.reinterpret(dtype=pl.UInt32, endianness="big")
    frame = pl.DataFrame({"value": values})
    return frame.select(pl.when(head).then(number).alias("id")).to_series()


def _headless(value: bytes) -> Cause:
    if not value:
        return Cause("decode", "empty")
    rule = "does not begin with a 0 and the id of a schema" if value[0] else "ends in its head"
    return Cause("decode", rule, value=show(value[:20]))


class AvroForm:
    """Records in Avro's binary form."""

    format = AVRO
    kind = registries.AVRO

    def schema(self, spec: ContractSpec, topic: str) -> str:
        return avro_schema(spec, topic)

    def decode(
        self, spec: ContractSpec, schema: Schema, payloads: pl.Series
    ) -> tuple[pl.DataFrame, list[Failure]]:
        try:
            parsed = _parsed(schema)
        except SchemaError as error:
            cause = Cause("decode", "a schema that cannot be read", detail=str(error))
            return avro.none(spec), [Failure(row, WHOLE, cause) for row in range(len(payloads))]
        return avro.decode(spec, parsed, payloads)

    def encode(self, spec: ContractSpec, rows: pl.DataFrame, head: bytes) -> pl.Series:
        return encode(spec.fields, rows, head)

    def breaks(self, spec: ContractSpec, schema: Schema) -> str:
        try:
            resolve(_parsed(schema), spec)
        except SchemaError as error:
            return str(error)
        except Problem as problem:
            return f"{problem.field}: {problem.rule}, in records of version {schema.version}"
        return ""


class JsonSchemaForm:
    """Records in JSON, described by a JSON Schema."""

    format = JSON_SCHEMA
    kind = registries.JSON

    def schema(self, spec: ContractSpec, topic: str) -> str:
        # What is written has no other fields; so a registry lets nullable ones be added.
        closed = {**_closed(spec.json_schema()), "$schema": _DRAFT}
        return json.dumps(closed, separators=(",", ":"), ensure_ascii=False)

    def decode(
        self, spec: ContractSpec, schema: Schema, payloads: pl.Series
    ) -> tuple[pl.DataFrame, list[Failure]]:
        decoded = contract.decode(spec, payloads)
        return decoded.rows.drop("_index"), decoded.failures

    def encode(self, spec: ContractSpec, rows: pl.DataFrame, head: bytes) -> pl.Series:
        return behind(head, contract.encode(spec, rows))

    def breaks(self, spec: ContractSpec, schema: Schema) -> str:
        return ""


def _closed(schema: Any) -> Any:
    """Say of every object in a schema that it has no other fields."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: _closed(one) for name, one in schema.items()}
    return {**inner, "additionalProperties": False} if "properties" in schema else inner


FORMS: dict[str, Callable[[], Form]] = {AVRO: AvroForm, JSON_SCHEMA: JsonSchemaForm}


@cache
def _parsed(schema: Schema) -> Any:
    return parse(schema.text, schema.references)
