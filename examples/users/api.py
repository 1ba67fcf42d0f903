"""A faithful imitation of https://randomuser.me/api/ on this machine, and a maker of trouble.

    python api.py --port 8000 --fail-every 7 --bad-every 40
    curl 'http://127.0.0.1:8000/api/?results=3&page=2&seed=abc'

The same seed and page give the same people. Without a seed each answer holds new people, and the
same sequence of them after each start. Every kind of trouble is a flag for all requests or a query
parameter for one (`?slow=2`, `?fail=1`); "every n-th" counts the requests of the server.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Lock
from urllib.parse import parse_qsl, urlsplit

from people import CODES, Document, person, spoil

VERSION = "1.4"
MOST = 5000


@dataclass(frozen=True)
class Trouble:
    """What goes wrong. Each number n means: with every n-th request (or record); 0 is never."""

    slow: float = 0
    fail: int = 0
    limit: int = 0
    cut: int = 0
    half: int = 0
    html: int = 0
    bad: int = 0

    def updated(self, query: dict[str, str]) -> Trouble:
        """The same with what a query asks for."""
        asked = {f.name: float(query[f.name]) for f in fields(self) if f.name in query}
        return replace(self, **{k: v if k == "slow" else int(v) for k, v in asked.items()})


HELP = {
    "slow": "seconds that every answer takes",
    "fail": "answer every n-th request with 500",
    "limit": "answer every n-th request with 429 and Retry-After: 1",
    "cut": "break the connection off in the middle of every n-th answer",
    "half": "send half a document with every n-th answer, as if it were whole",
    "html": "send a page of HTML with every n-th answer",
    "bad": "spoil every n-th person: wrong types, missing fields, dates without a zone",
}


class Api(ThreadingHTTPServer):
    """The server: counts requests, and chooses the people of each answer."""

    daemon_threads = True

    def __init__(
        self, port: int = 0, trouble: Trouble | None = None, seed: str = "penstock"
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.trouble = trouble or Trouble()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/api/"
        self._seed = seed
        self._lock = Lock()
        self._requests = 0
        self._answers = 0

    def count(self) -> int:
        """The number of this request."""
        with self._lock:
            self._requests += 1
            return self._requests

    def fresh(self) -> tuple[str, int]:
        """Seed and number of an answer whose request names no seed."""
        with self._lock:
            self._answers += 1
            return Random(f"{self._seed}/{self._answers}").randbytes(8).hex(), self._answers


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Api

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path.rstrip("/") not in ("/api", f"/api/{VERSION}"):
            self._send(404, b"there is only /api/", "text/plain")
            return
        try:
            trouble = self.server.trouble.updated(query)
            asked = Asked.read(query)
        except ValueError as error:
            self._send(400, json.dumps({"error": str(error)}).encode())
            return
        self._answer(trouble, asked, self.server.count())

    def _answer(self, trouble: Trouble, asked: Asked, nth: int) -> None:
        def happens(every: int) -> bool:
            return bool(every) and nth % every == 0

        time.sleep(trouble.slow)
        if happens(trouble.limit):
            body = b'{"error": "Whoa, ease up there cowboy."}'
            self._send(429, body, headers={"Retry-After": "1"})
        elif happens(trouble.fail):
            self._send(500, b'{"error": "Uh oh, something has gone wrong."}')
        elif happens(trouble.html):
            self._send(200, b"<!doctype html><title>Please log in</title>", "text/html")
        else:
            whole = json.dumps(
                asked.document(self.server, trouble.bad), ensure_ascii=False
            ).encode()
            half = whole[: len(whole) // 2]
            cut = happens(trouble.cut)
            body = half if cut or happens(trouble.half) else whole
            self._send(200, body, length=len(whole) if cut else len(body))

    def _send(
        self,
        status: int,
        body: bytes,
        type: str = "application/json; charset=utf-8",
        *,
        length: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        size = len(body) if length is None else length
        for name, value in {
            "Content-Type": type,
            "Content-Length": str(size),
            "Connection": "close",
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the screen belongs to the pipeline."""


@dataclass(frozen=True)
class Asked:
    """What a request asks for."""

    results: int
    page: int
    seed: str | None
    gender: str | None
    nations: tuple[str, ...]
    only: frozenset[str]
    without: frozenset[str]
    info: bool

    @classmethod
    def read(cls, query: dict[str, str]) -> Asked:
        """Read a query; what the API does not know it ignores, as the real one does."""
        results = int(query.get("results", 1))
        nations = tuple(n for n in query.get("nat", "").upper().split(",") if n in CODES)
        gender = query.get("gender")
        return cls(
            results=results if 1 <= results <= MOST else 1,
            page=max(int(query.get("page", 1)), 1),
            seed=query.get("seed"),
            gender=gender if gender in ("female", "male") else None,
            nations=nations or CODES,
            only=frozenset(filter(None, query.get("inc", "").split(","))),
            without=frozenset(filter(None, query.get("exc", "").split(","))),
            info="noinfo" not in query,
        )

    def document(self, server: Api, bad: int = 0) -> Document:
        """The people, and what was asked for."""
        seed, number = (self.seed, self.page) if self.seed else server.fresh()
        random = Random(f"{seed}/{self.page}")
        people = [person(random, self.nations, self.gender) for _ in range(self.results)]
        if bad:
            first = (number - 1) * self.results
            for n, someone in enumerate(people, first + 1):
                if n % bad == 0:
                    spoil(someone, n // bad)
        document: Document = {"results": [self._chosen(someone) for someone in people]}
        if self.info:
            document["info"] = {
                "seed": seed,
                "results": self.results,
                "page": self.page,
                "version": VERSION,
            }
        return document

    def _chosen(self, someone: Document) -> Document:
        return {
            name: value
            for name, value in someone.items()
            if name not in self.without and (not self.only or name in self.only)
        }


def main() -> None:
    """Serve until stopped; print the address first."""
    parser = argparse.ArgumentParser(description="An imitation of the random-user API.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", default="penstock", help="another one gives other people")
    for field in fields(Trouble):
        flag = "--slow" if field.name == "slow" else f"--{field.name}-every"
        kind = float if field.name == "slow" else int
        parser.add_argument(flag, dest=field.name, type=kind, default=0, help=HELP[field.name])
    options = vars(parser.parse_args())
    port, seed = options.pop("port"), options.pop("seed")
    with Api(port, Trouble(**options), seed) as api:
        print(api.url, flush=True)
        with suppress(KeyboardInterrupt):
            api.serve_forever()


if __name__ == "__main__":
    main()
