"""The processes of a standalone Spark: how each is run, and how to tell that it is ready."""

from __future__ import annotations

import http.client
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from penstock.errors import Refused
from penstock.services import java, jvm
from penstock.services.daemon import Launch
from penstock.services.ports import HOST
from penstock.services.settings import Settings, as_text

_LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.deploy.name = org.apache.spark.deploy
logger.deploy.level = info
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
appender.out.type = Console
appender.out.name = out
appender.out.target = SYSTEM_ERR
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1}: %m%n%ex
"""

_DEFAULTS = {
    "spark.master.rest.enabled": False,
    "spark.ui.killEnabled": False,
    "spark.worker.timeout": 30,  # after which a restarted master gives up what it knew
    "spark.port.maxRetries": 0,  # a taken port is an error, not a reason to take another
    "spark.worker.cleanup.enabled": True,
    "spark.worker.cleanup.appDataTtl": 86_400,
    "spark.worker.ui.retainedExecutors": 50,
    "spark.deploy.retainedApplications": 50,
}
_HEAP = "-Xmx256m"  # they do no work themselves: that is in the executors


@dataclass(frozen=True)
class Offer:
    """What a worker has for executors.

    Args:
        cores: How many.
        memory: Such as `2g`.
    """

    cores: int
    memory: str


class Master:
    """The recipe of a master.

    Args:
        settings: Ports, and the master's own folder.
    """

    name = "spark"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def url(self) -> str:
        return f"spark://{HOST}:{self._settings.port}"

    @property
    def ports(self) -> Mapping[str, int]:
        return self._settings.ports

    def prepare(self) -> Launch:
        where = ["--host", HOST, "--port", str(self._settings.port)]
        look = ["--webui-port", str(self._settings.internal_port)]
        # A master that was killed takes back its applications and workers; those of another
        # version of Spark it could not read.
        known = self._settings.data / f"known-{_core(_home())[1]}"
        known.mkdir(exist_ok=True)
        own = {
            "spark.deploy.recoveryMode": "FILESYSTEM",
            "spark.deploy.recoveryDirectory": known,
            **self._settings.settings,
        }
        settings = replace(self._settings, settings=own)
        return _launch("org.apache.spark.deploy.master.Master", [*where, *look], settings)

    def ready(self) -> bool:
        state = _state(self._settings.internal_port)
        return bool(state.get("url") == self.url and state.get("status") == "ALIVE")


class Worker:
    """The recipe of a worker.

    Args:
        settings: The ports of its master, and the worker's own folder.
        number: From 1.
        offer: What it has for executors.
    """

    name = "spark"

    def __init__(self, settings: Settings, number: int, offer: Offer) -> None:
        self._settings = settings
        self._port = settings.internal_port + number
        self._offer = offer

    @property
    def url(self) -> str:
        return f"spark://{HOST}:{self._settings.port}"

    @property
    def ports(self) -> Mapping[str, int]:
        return {"internal_port": self._port}

    def prepare(self) -> Launch:
        arguments = [
            *("--host", HOST),
            *("--webui-port", str(self._port)),
            *("--cores", str(self._offer.cores)),
            *("--memory", self._offer.memory),
            *("--work-dir", str(self._settings.data / "work")),
            self.url,
        ]
        return _launch("org.apache.spark.deploy.worker.Worker", arguments, self._settings)

    def ready(self) -> bool:
        """Whether it answers, and its master counts on it."""
        name = _state(self._port).get("id")
        known = _state(self._settings.internal_port).get("workers", []) if name else []
        return any(one["id"] == name and one["state"] == "ALIVE" for one in known)


def _launch(main: str, arguments: list[str], settings: Settings) -> Launch:
    machine, spark, home = java.for_spark(), _home(), settings.data
    config = home / "conf"
    config.mkdir(exist_ok=True)
    (config / "log4j2.properties").write_text(_LOGGING)
    defaults = config / "spark-defaults.conf"
    defaults.touch(mode=0o600)  # may hold spark.authenticate.secret
    own = {name: as_text(value) for name, value in {**_DEFAULTS, **settings.settings}.items()}
    jvm.properties_file(defaults, own)
    program = jvm.Program(
        [config, spark / "jars" / "*"], main, options=[_HEAP], arguments=arguments
    )
    environment = {
        "SPARK_HOME": str(spark),
        "SPARK_SCALA_VERSION": _core(spark)[0],  # else a worker cannot start executors
        "SPARK_CONF_DIR": str(config),
        "SPARK_LOCAL_IP": HOST,
        "SPARK_LOCAL_DIRS": str(home / "tmp"),
        "JAVA_HOME": str(machine.resolve().parent.parent),  # of the executors
    }
    return Launch(jvm.launch(program, home, machine=machine).command, environment)


def _home() -> Path:
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise Refused(
            "Spark comes with pyspark, which is not installed; run pip install 'penstock[spark]'"
        )
    return Path(found.origin).parent


def _core(spark: Path) -> tuple[str, str]:
    """Tell the versions of Scala and of Spark."""
    for core in (spark / "jars").glob("spark-core_*.jar"):
        scala, _, version = core.stem.removeprefix("spark-core_").partition("-")
        return scala, version
    raise Refused(f"{spark} holds no jars of Spark; install pyspark anew")


def _state(port: int) -> dict[str, Any]:
    """Ask a master or worker for its state; empty where none answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/json/")
        return dict(json.load(connection.getresponse()))
    except (OSError, ValueError, TypeError, http.client.HTTPException):
        return {}
    finally:
        connection.close()
