"""Spark's own words go to a file, none to the user's terminal."""

from __future__ import annotations

import logging
from pathlib import Path

LOG = "driver.log"
"""What Spark says, in the run's folder."""

_LOGGERS = ("py4j", "pyspark", "SQLQueryContextLogger", "DataFrameQueryContextLogger")

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
logger.slow.name = org.apache.spark.sql.execution.streaming.runtime.ProcessingTimeExecutor
logger.slow.level = error
"""


def java(folder: Path, into: Path) -> Path:
    """Write the settings by which the JVM logs to a file that never grows beyond bounds.

    Args:
        folder: Where the log is to be.
        into: Where the settings go.

    Returns:
        The settings' file.
    """
    file = into / "log4j2.properties"
    log = str(folder.absolute() / LOG).replace("\\", "\\\\").replace("$", "$$")
    file.write_text(_LOG4J.format(file=log), encoding="utf-8")
    return file


def python() -> None:
    """Keep the Python halves of Spark off the terminal; what they say reaches us as errors too."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
