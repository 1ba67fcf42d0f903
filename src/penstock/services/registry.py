"""Apicurio Registry: schemas, by the interface of Confluent's registry."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException

from penstock.errors import Refused
from penstock.services import artifacts, jvm
from penstock.services.daemon import Launch
from penstock.services.ports import HOST
from penstock.services.settings import Defaults, Settings, as_text

_PATH = "/apis/ccompat/v7"
_MAGIC = b"H:2,"
"""How a database file of H2 begins."""


class Registry:
    """The recipe of a schema registry, which keeps its schemas in a database of its own.

    Args:
        settings: Port, memory, folder; `settings.settings` are Apicurio's and Quarkus' properties.
        mirror: Where it comes from.
    """

    name = "registry"
    defaults = Defaults(port=8081, memory="256m", folder="registry")

    def __init__(self, settings: Settings, mirror: str | None = None) -> None:
        self._settings = settings
        self._mirror = mirror

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._settings.port}{_PATH}"

    @property
    def ports(self) -> Mapping[str, int]:
        return self._settings.ports

    def prepare(self) -> Launch:
        self._verify()
        folder = artifacts.unpacked("registry", mirror=self._mirror)
        properties = {
            "quarkus.http.host": HOST,
            "quarkus.http.port": self._settings.port,
            "quarkus.http.access-log.enabled": False,
            "quarkus.management.host": HOST,
            "quarkus.management.port": self._settings.internal_port,
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            # Relative to the server's folder. Without delay: a killed registry forgets no schema.
            "apicurio.datasource.url": "jdbc:h2:file:./data/registry;WRITE_DELAY=0",
            **self._settings.settings,
        }
        program = jvm.Program(
            [folder / "quarkus-run.jar"],
            "io.quarkus.bootstrap.runner.QuarkusEntryPoint",
            options=[
                f"-Xmx{self._settings.memory}",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "--add-opens=java.base/java.lang=ALL-UNNAMED",
            ],
            properties={name: as_text(value) for name, value in properties.items()},
        )
        return jvm.launch(program, self._settings.data)

    def _verify(self) -> None:
        """Refuse a damaged database, with which it would start and answer nothing but errors."""
        database = self._settings.data / "data" / "registry.mv.db"
        if database.exists() and not database.read_bytes().startswith(_MAGIC):
            raise Refused(
                f"{database} is damaged: it is no database any more. Restore it from a backup, "
                "or move it away to begin anew"
            )

    def ready(self) -> bool:
        connection = HTTPConnection(HOST, self._settings.port, timeout=5)
        try:
            connection.request("GET", f"{_PATH}/subjects")
            answer = connection.getresponse()
            kind = answer.headers.get_content_subtype()
            return answer.status == 200 and kind.endswith("json")
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
