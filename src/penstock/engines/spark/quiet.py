"""Spark's own words go to a file, none to the user's terminal."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

LOG = "driver.log"
"""What Spark says, in the run's folder."""

_LOGGERS = ("py4j", "pyspark", "SQLQueryContextLogger", "DataFrameQueryContextLogger")

# Left out are warnings about what is as it should be.
_LOG4J = """\
status = off
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {file}
appender.file.filePattern = {file}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{yyyy-MM-dd HH:mm:ss.SSS}} %p %c{{1}}: %m%n%ex
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
logger.late.name = org.apache.spark.sql.execution.streaming.runtime.ProcessingTimeExecutor
logger.late.level = error
logger.conf.name = org.apache.spark.SparkConf
logger.conf.level = error
"""


def java(scratch: Path) -> Path:
    """Write the settings by which the JVM logs to a file that does not grow beyond bounds.

    Args:
        scratch: Where the settings go; the log is beside it.

    Returns:
        The settings' file.
    """
    log = str(scratch.parent / LOG).replace("\\", "\\\\").replace("$", "$$")
    file = scratch / "log4j2.properties"
    file.write_text(_LOG4J.format(file=log), encoding="utf-8")
    return file


def python() -> None:
    """Keep Spark's Python half off the terminal; what it says reaches us as errors as well."""
    warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
    logging.getLogger().addFilter(_is_ours)  # py4j logs to the root when the JVM dies
    from pyspark.accumulators import AccumulatorTCPServer, AccumulatorUnixServer

    for server in (AccumulatorTCPServer, AccumulatorUnixServer):
        server.handle_error = _ignore  # type: ignore[assignment, method-assign]


def _is_ours(record: logging.LogRecord) -> bool:
    return "py4j" not in record.pathname


def _ignore(*_: object) -> None:
    """The JVM died, which `failures` tells."""
