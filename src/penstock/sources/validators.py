"""Conditional requests: what an answer says to be known again by, and how it is asked with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

_APART = timedelta(seconds=1)


@dataclass(frozen=True)
class Known:
    """How the answer to one request is known again.

    Args:
        request: Fingerprint of the request that it answered.
        etag: The header `ETag`.
        modified: The header `Last-Modified`, where no `ETag` came.
    """

    request: str
    etag: str = ""
    modified: str = ""

    def cursor(self) -> dict[str, Any]:
        """What to commit; nothing when there is nothing to know it by."""
        if not (self.etag or self.modified):
            return {}
        return {"known": [self.request, self.etag, self.modified]}

    def headers(self, request: str) -> Mapping[str, str]:
        """What to send with a request: only with the same one."""
        if request != self.request:
            return {}
        if self.etag:
            return {"If-None-Match": self.etag}
        return {"If-Modified-Since": self.modified} if self.modified else {}


def known(request: str, headers: Mapping[str, str]) -> Known:
    """How an answer with these headers is known again.

    A date has no fractions: a body may change again in the second in which it was sent (RFC 9110,
    8.8.2.2), so a date counts only when the answer was sent at least a second later.
    """
    etag = headers.get("etag", "")
    modified, sent = headers.get("last-modified", ""), headers.get("date", "")
    apart = _instant(sent), _instant(modified)
    sound = None not in apart and apart[0] - apart[1] >= _APART  # type: ignore[operator]
    return Known(request, etag, modified if sound and not etag else "")


def _instant(date: str) -> datetime | None:
    try:
        then = parsedate_to_datetime(date)
    except ValueError:
        return None
    return then if then.tzinfo else None
