"""What a topic of a store is to be like: the lane's declaration and the profile's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from penstock.contract.spec import KEYLESS
from penstock.errors import DeclarationError, ProfileError
from penstock.logs.kafka import topics
from penstock.pipeline import Retention
from penstock.profile import FORMATS, JSON
from penstock.serdes.formats import codec_of, registry_at

if TYPE_CHECKING:
    from penstock.plan import Lane
    from penstock.profile import Store

_SETTINGS = ("partitions", "key", "retention", "size", "compact", "format", "config")
_MOST_PARTITIONS = 1000


@dataclass(frozen=True)
class Target:
    """A topic of a store.

    Args:
        lane: The lane with the topic's full name, key, codec and retention; its `partitions` are
            those that a new topic gets.
        partitions: How many it shall have; None takes those that it has.
        compact: Whether Kafka keeps the newest record of each key; None leaves that as it is.
        config: More of its settings, as Kafka names them.
    """

    lane: Lane
    partitions: int | None
    compact: bool | None
    config: Mapping[str, str]

    def wanted(self, partitions: int) -> topics.Wanted:
        """Say how the topic shall be, with this many partitions."""
        settings = dict(self.config)
        if self.compact is not None:
            also = ",delete" if self.lane.retention else ""
            settings["cleanup.policy"] = f"compact{also}" if self.compact else "delete"
        return topics.Wanted(self.lane.table, partitions, self.lane.retention, settings)


def read(store: Store, lane: Lane) -> Target:
    """Read the settings of a lane's topic.

    Args:
        store: The store, `kafka://…`.
        lane: The lane, of mode `upsert` or `append`.

    Raises:
        ProfileError: A setting is unknown or wrong.
    """
    return _Reader(store, lane).target()


class _Reader:
    def __init__(self, store: Store, lane: Lane) -> None:
        self._store = store
        self._lane = lane
        self._settings = store.tables.get(lane.table, {})
        if unknown := set(self._settings) - {*_SETTINGS}:
            known = ", ".join(_SETTINGS)
            raise self._wrong(f"there is no setting {sorted(unknown)[0]!r}; there are {known}")

    def target(self) -> Target:
        name = self._store.prefix + self._lane.table
        partitions = self._partitions()
        keyed = self._lane.mode == "upsert"
        lane = replace(
            self._lane,
            table=name,
            key=self._key(),
            retention=self._retention(),
            partitions=partitions or 1,
            codec=codec_of(self._format(), name, partial(registry_at, self._store.registry)),
        )
        compact = self._one("compact", bool, "true or false", True if keyed else None)
        return Target(lane, partitions, compact, self._config())

    def _partitions(self) -> int | None:
        words = f"a number from 1 to {_MOST_PARTITIONS}"
        number: int | None = self._one("partitions", int, words)
        if number is not None and not 1 <= number <= _MOST_PARTITIONS:
            raise self._wrong(f"has partitions = {number}; write {words}")
        return number

    def _key(self) -> tuple[str, ...]:
        given = self._settings.get("key")
        if given is None:
            return self._lane.key or self._lane.spec.key
        if self._lane.mode == "upsert":
            raise self._wrong(
                f"has a key, but its sink upserts by {', '.join(self._lane.key)}; remove key, or "
                'write mode="append" in the program'
            )
        columns = [given] if isinstance(given, str) else given
        fields = {field.name: field for field in self._lane.spec.fields}
        if not isinstance(columns, list) or not all(name in fields for name in columns):
            raise self._wrong(f"has key = {given!r}; its fields are {', '.join(fields)}")
        for name in columns:
            if fields[name].nullable or isinstance(fields[name].type, KEYLESS):
                raise self._wrong(f"has key = {given!r}, but {name} cannot be a key")
        return tuple(columns)

    def _retention(self) -> Retention | None:
        age = self._one("retention", str, "a duration such as '7d'")
        size = self._one("size", str, "a size such as '10GB'")
        if age is None and size is None:
            return None
        try:
            return Retention(age, size)
        except DeclarationError as error:
            raise self._wrong(error.message) from None

    def _format(self) -> str:
        found: str = self._settings.get("format", self._store.format)
        if found not in FORMATS:
            known = ", ".join(map(repr, FORMATS))
            raise self._wrong(f"has format = {found!r}; there are {known}")
        if found != JSON and self._store.registry is None:
            raise self._wrong(
                f'has format = {found!r}, which needs a registry; add registry = "http://…" '
                "to the store or to the profile"
            )
        return found

    def _config(self) -> dict[str, str]:
        config = self._one("config", dict, "a table of Kafka's settings", {})
        return {
            str(name): str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in config.items()
        }

    def _one(self, name: str, kind: type, words: str, default: Any = None) -> Any:
        value = self._settings.get(name, default)
        if value is not default and type(value) is not kind:
            raise self._wrong(f"has {name} = {value!r}; write {words}")
        return value

    def _wrong(self, what: str) -> ProfileError:
        return ProfileError(f"store {self._store.name!r}, table {self._lane.table!r}: {what}")
