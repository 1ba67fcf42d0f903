"""Log lines on stderr: `key=value` on a pipe, JSON beside `--json`, short ones on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Literal

import structlog

if TYPE_CHECKING:
    from penstock.engines.status import Event

Style = Literal["logfmt", "json", "short"]


class _Stderr:
    """Whatever `sys.stderr` is at the time: the live table puts itself in between."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure(style: Style, *, debug: bool) -> None:
    """Send structlog's and the standard library's lines to stderr in one format.

    Args:
        style: `logfmt` (`key=value`), `json` (one object on each line), or `short` for people.
        debug: Whether debug lines are wanted.
    """
    stream: Any = _Stderr()
    level = logging.DEBUG if debug else logging.INFO
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, _RENDERERS[style]()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
    )
    handler = logging.StreamHandler(stream)
    drop_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[drop_meta, _RENDERERS[style]()], foreign_pre_chain=shared
        )
    )
    logging.getLogger().handlers = [handler]
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("penstock").setLevel(level)


def listener() -> Callable[[Event], None]:
    """Return what writes an engine's events as log lines."""
    log = structlog.get_logger()

    def write(event: Event) -> None:
        fields = {key: value for key, value in event.fields.items() if key != "reason"}
        level = logging.getLevelNamesMapping()[event.level.upper()]
        log.log(level, " ".join(event.message.split()), kind=event.name, **fields)

    return write


def _short(_logger: object, _name: str, line: MutableMapping[str, Any]) -> str:
    words = str(line["event"])
    if "exception" in line:
        words += f"\n{line['exception']}"
    mark = "" if line["level"] == "info" else f"{line['level']}: "
    return f"{line['timestamp'][11:19]} {mark}{words}"


_RENDERERS: dict[Style, Callable[[], Any]] = {
    "logfmt": lambda: structlog.processors.LogfmtRenderer(
        key_order=["timestamp", "level", "event"], bool_as_flag=False
    ),
    "json": lambda: structlog.processors.JSONRenderer(default=str),
    "short": lambda: _short,
}
