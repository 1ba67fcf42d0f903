"""Real-time data pipelines, declared once, with every record accounted for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.contract import (
        Check,
        Contract,
        Digits,
        Length,
        Name,
        OneOf,
        Pattern,
        Range,
        Text,
        born,
        detokenise,
        key,
        masked,
    )
    from penstock.pipeline import Pipeline, Retention, env
    from penstock.sources.chains import Cursors, Links
    from penstock.sources.credentials import Basic, Bearer
    from penstock.sources.files import Files
    from penstock.sources.forms import Csv
    from penstock.sources.generator import Generator
    from penstock.sources.http import Http
    from penstock.sources.oauth2 import OAuth2
    from penstock.sources.pagination import Offsets, Pages
    from penstock.sources.postgresql.changes import PostgresChanges
    from penstock.sources.postgresql.incremental import Postgres
    from penstock.sources.since import Since

__all__ = [
    "Basic",
    "Bearer",
    "Check",
    "Contract",
    "Csv",
    "Cursors",
    "Digits",
    "Files",
    "Generator",
    "Http",
    "Length",
    "Links",
    "Name",
    "OAuth2",
    "Offsets",
    "OneOf",
    "Pages",
    "Pattern",
    "Pipeline",
    "Postgres",
    "PostgresChanges",
    "Range",
    "Retention",
    "Since",
    "Text",
    "born",
    "detokenise",
    "env",
    "key",
    "masked",
]

_ELSEWHERE = {
    "Pipeline": "pipeline",
    "Retention": "pipeline",
    "env": "pipeline",
    "Files": "sources.files",
    "Generator": "sources.generator",
    "Http": "sources.http",
    "Basic": "sources.credentials",
    "Bearer": "sources.credentials",
    "OAuth2": "sources.oauth2",
    "Since": "sources.since",
    "Csv": "sources.forms",
    "Cursors": "sources.chains",
    "Links": "sources.chains",
    "Offsets": "sources.pagination",
    "Pages": "sources.pagination",
    "Postgres": "sources.postgresql.incremental",
    "PostgresChanges": "sources.postgresql.changes",
}


if not TYPE_CHECKING:  # or type checkers would believe in any name

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used, so that the command answers at once."""
        if name not in __all__:
            raise AttributeError(f"module 'penstock' has no attribute {name!r}")
        module = import_module(f"penstock.{_ELSEWHERE.get(name, 'contract')}")
        value = globals()[name] = getattr(module, name)
        return value


def __dir__() -> list[str]:
    return __all__
