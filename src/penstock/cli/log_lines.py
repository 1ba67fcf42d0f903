"""Log lines on stderr: `key=value` for people and pipes, JSON beside `--json`."""

from __future__ import annotations

import logging
import sys
from typing import Any


class _Stderr:
    """Whatever `sys.stderr` is at the time: the live table puts itself in between."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure(*, as_json: bool, debug: bool) -> None:
    """Send structlog's and the standard library's lines to stderr in one format.

    Args:
        as_json: One JSON object on each line in place of `key=value`.
        debug: Whether debug lines are wanted.
    """
    import structlog

    stream: Any = _Stderr()
    level = logging.DEBUG if debug else logging.INFO
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, _renderer(as_json)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(as_json),
            ],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("penstock").setLevel(level)


def _renderer(as_json: bool) -> Any:
    import structlog

    if as_json:
        return structlog.processors.JSONRenderer(default=str)
    return structlog.processors.LogfmtRenderer(
        key_order=["timestamp", "level", "event"], bool_as_flag=False
    )
