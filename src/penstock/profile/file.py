"""What a profile holds, and how it is read from the profile file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from penstock.errors import ProfileError
from penstock.profile import spark
from penstock.profile.apart import REFERENCE, VARIABLE, apart, on_one_machine
from penstock.profile.spark import SparkSettings
from penstock.profile.urls import filled, filled_url

FILE = "penstock.toml"
EMBEDDED = "embedded"
JSON, JSON_SCHEMA, AVRO = "json", "json-schema", "avro"
FORMATS = (JSON, JSON_SCHEMA, AVRO)
"""How a topic can hold records: plain JSON, or in a schema registry's wire format."""

_EMBEDDED_URL = "embedded:"
_KAFKA = "kafka:"
_OF_TOPICS = ("registry", "format", "prefix")
_SETTINGS = ("home", "log", "registry", "engine", "spark", "format", "formats", "stores")


@dataclass(frozen=True)
class Store:
    """A system that sinks write to.

    Args:
        name: What programs call it.
        url: Where it is; holds secrets, so print `redact(url)` only.
        tables: Settings of single tables, by table; the store's sink says which there are.
        registry: URL of the schema registry of its topics, if it is a Kafka cluster.
        format: How its topics hold records, one of `FORMATS`, if it is a Kafka cluster.
        prefix: What stands before the names of its topics, if it is a Kafka cluster.
    """

    name: str
    url: str = field(repr=False)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    registry: str | None = field(default=None, repr=False)
    format: str = JSON
    prefix: str = ""

    @property
    def scheme(self) -> str:
        """The URL's scheme, such as `postgresql`; it chooses the sink."""
        return self.url.partition(":")[0]


@dataclass(frozen=True)
class Profile:
    """Where a program's pieces live. URLs hold secrets: print `redact(url)` only.

    Args:
        name: The profile's name.
        home: URL of the database where Penstock keeps its own state, or `embedded:`.
        log: URL of the system that holds the topics.
        registry: URL of a schema registry, if there is one.
        engine: Spark's master; None is the embedded engine.
        spark: Settings of the Spark engine.
        stores: The stores by name; those of the embedded profile are made by `store`.
        format: How topics hold their records, one of `FORMATS`.
        formats: The same for single topics, by name, where it differs.
    """

    name: str
    home: str = field(repr=False)
    log: str = field(repr=False)
    registry: str | None = field(default=None, repr=False)
    engine: str | None = field(default=None, repr=False)
    stores: Mapping[str, Store] = field(default_factory=dict)
    format: str = JSON
    formats: Mapping[str, str] = field(default_factory=dict)
    spark: SparkSettings = field(default_factory=SparkSettings, repr=False)

    @property
    def on_spark(self) -> bool:
        """Whether segments that read topics run on Spark."""
        return self.engine is not None

    def format_of(self, topic: str) -> str:
        """Say how a topic holds its records: one of `FORMATS`."""
        return self.formats.get(topic, self.format)

    @property
    def embedded(self) -> bool:
        """Whether this is the built-in profile, which has every store that is asked for."""
        return self.name == EMBEDDED

    def store(self, name: str) -> Store:
        """Return a store by name.

        Raises:
            ProfileError: The profile has no such store.
        """
        if self.embedded:
            return Store(name, f"{_EMBEDDED_URL}?schema={quote(name, safe='')}")
        if name not in self.stores:
            known = ", ".join(map(repr, self.stores)) or "none"
            raise ProfileError(
                f"profile {self.name!r} has no store {name!r} (it has {known}); "
                f"add it under [profiles.{self.name}.stores]"
            )
        return self.stores[name]


def load(path: Path | str | None = None, name: str = EMBEDDED) -> Profile:
    """Read a profile.

    Variables `${NAME}` and `${NAME:-default}` are filled in from the environment after a URL is
    split, so that a password may hold any character; `$$` is a dollar.

    Args:
        path: The profile file; None is `penstock.toml` in the current folder.
        name: Which profile; `embedded` is built in and needs no file.

    Raises:
        ProfileError: The file or profile is missing or wrong, or a variable is not set.
    """
    if name == EMBEDDED:
        return Profile(EMBEDDED, _EMBEDDED_URL, _EMBEDDED_URL)
    file = Path(path or FILE)
    profiles = _profiles(file)
    if name not in profiles:
        known = ", ".join([EMBEDDED, *profiles])
        raise ProfileError(f"{file} has no profile {name!r}; there are {known}")
    profile = _profile(f"{file}: [profiles.{name}]", name, profiles[name])
    if os.environ.get(REFERENCE):
        profile = on_one_machine(profile)
    namespace = os.environ.get(VARIABLE)
    return apart(profile, namespace) if namespace else profile


def services_settings(path: Path | str | None = None) -> Mapping[str, Mapping[str, Any]]:
    """Read the tables `[services.NAME]`: what the servers started here are to be like.

    Args:
        path: The profile file; None is `penstock.toml` in the current folder, if there is one.

    Raises:
        ProfileError: The file cannot be read, or `services` is no table.
    """
    file = Path(path or FILE)
    if path is None and not file.exists():
        return {}
    services = _read(file).get("services", {})
    if not isinstance(services, dict):
        raise ProfileError(f"{file}: services must hold tables [services.NAME]")
    return services


def _read(file: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(
            f"there is no profile file {file.absolute()}; create it or use the profile 'embedded'"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{file} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{file} is not TOML: {error}") from error
    if strange := set(document) - {"profiles", "services"}:
        raise ProfileError(
            f"{file} has an unknown table {sorted(strange)[0]!r}; "
            "there are [profiles.NAME] and [services.NAME]"
        )
    return document


def _profiles(file: Path) -> dict[str, Any]:
    profiles = _read(file).get("profiles")
    if not isinstance(profiles, dict):
        raise ProfileError(f"{file} must hold tables [profiles.NAME]")
    if EMBEDDED in profiles:
        raise ProfileError(f"{file}: the profile 'embedded' is built in; give yours another name")
    return profiles


def _profile(where: str, name: str, table: object) -> Profile:
    if not isinstance(table, dict):
        raise ProfileError(f"{where} must be a table")
    if unknown := set(table) - set(_SETTINGS):
        known = ", ".join(_SETTINGS)
        raise ProfileError(f"{where} has an unknown setting {sorted(unknown)[0]!r}; it has {known}")
    urls = {
        key: filled_url(f"{where} {key}", table[key])
        for key in ("home", "log", "registry", "engine")
        if key in table
    }
    stores = {
        key: _store(f"{where} stores.{key}", key, value, urls.get("registry"))
        for key, value in _table(where, table, "stores").items()
    }
    for key in ("home", "log"):
        if key not in urls:
            raise ProfileError(f"{where} lacks {key!r}: say where it is, as a URL")
    formats = _table(where, table, "formats")
    usual = table.get("format", AVRO if "registry" in urls else JSON)
    for topic, format_ in [("format", usual), *formats.items()]:
        _verify_format(f"{where} {topic}", format_, "registry" in urls)
    return Profile(
        name=name,
        home=urls["home"],
        log=urls["log"],
        registry=urls.get("registry"),
        engine=_engine(f"{where} engine", urls.get("engine")),
        spark=spark.read(f"{where} spark", _table(where, table, "spark")),
        stores=stores,
        format=usual,
        formats=formats,
    )


def _engine(where: str, engine: str | None) -> str | None:
    if engine in {None, "", _EMBEDDED_URL}:
        return None
    if not spark.is_master(engine):
        raise ProfileError(
            f"{where}: there is no engine {engine!r}; write spark://host:port, local[2], "
            "local-cluster[2,1,1024], yarn or k8s://https://host:port, or leave engine out to use "
            "the embedded one"
        )
    return engine


def _table(where: str, table: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = table.get(key, {})
    if not isinstance(found, dict):
        raise ProfileError(f"{where} {key} must be a table")
    return found


def _store(where: str, name: str, value: object, registry: str | None) -> Store:
    if not isinstance(value, dict):
        return Store(name, filled_url(where, value), registry=registry)
    of_topics = str(value.get("url")).startswith(_KAFKA)
    known = ["url", "tables", *(_OF_TOPICS if of_topics else ())]
    if strange := set(value) - set(known):
        raise ProfileError(
            f"{where} has an unknown setting {sorted(strange)[0]!r}; "
            f"there are {', '.join(known[:-1])} and {known[-1]}"
        )
    tables = _table(where, value, "tables")
    own = filled_url(f"{where}.registry", value["registry"]) if "registry" in value else None
    format_ = value.get("format", AVRO if own else JSON)
    _verify_format(f"{where} format", format_, bool(own or registry))
    return Store(
        name,
        filled_url(f"{where}.url", value.get("url")),
        {table: _table(f"{where} tables", tables, table) for table in tables},
        registry=own or registry,
        format=format_,
        prefix=filled(f"{where}.prefix", value["prefix"]) if "prefix" in value else "",
    )


def _verify_format(where: str, format_: object, registry: bool) -> None:
    if format_ not in FORMATS:
        known = ", ".join(map(repr, FORMATS))
        raise ProfileError(f"{where}: there is no format {format_!r}; there are {known}")
    if format_ != JSON and not registry:
        raise ProfileError(
            f"{where}: {format_!r} keeps its schemas in a registry; add registry = "
            f'"http://…", or write format = "json"'
        )
