"""Profiles: which home, log, engine and stores a program runs on. Secrets are never printed."""

from penstock.profile.environment import EnvVar, env
from penstock.profile.file import (
    AVRO,
    EMBEDDED,
    FILE,
    FORMATS,
    JSON,
    JSON_SCHEMA,
    Profile,
    Store,
    load,
    services_settings,
)
from penstock.profile.spark import SparkSettings
from penstock.profile.urls import redact

__all__ = [
    "AVRO",
    "EMBEDDED",
    "FILE",
    "FORMATS",
    "JSON",
    "JSON_SCHEMA",
    "EnvVar",
    "Profile",
    "SparkSettings",
    "Store",
    "env",
    "load",
    "redact",
    "services_settings",
]
