"""The systems that a profile names: where they are, and what speaks to them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from penstock.errors import ProfileError
from penstock.home.database import Home
from penstock.plan import LOG_STORE
from penstock.services import postgresql as embedded

if TYPE_CHECKING:
    from types import TracebackType

    from penstock.interfaces import Log, Sink
    from penstock.logs.landing import LandingLog
    from penstock.plan import Lane, Segment
    from penstock.profile import Profile
    from penstock.records import LaneKey

ROOT = Path(".penstock")
"""Where the embedded PostgreSQL lives, unless told otherwise."""

_POSTGRESQL = ("postgresql:", "postgres:")


class Systems:
    """Opens what a profile names; the embedded PostgreSQL runs for as long as this is entered.

    Args:
        profile: Which systems.
        pipeline: The pipeline's name.
        root: Directory of the embedded server.

    Raises:
        ProfileError: Home, log or engine is of a kind that there is not.
    """

    def __init__(self, profile: Profile, pipeline: str, root: Path = ROOT) -> None:
        _check(profile)
        self._profile = profile
        self._pipeline = pipeline
        self._server = embedded.EmbeddedPostgresql(root)
        self._server_url = ""
        self._stack = ExitStack()
        self._reviving = Lock()

    @property
    def uses_embedded(self) -> bool:
        """Whether any system of the profile is the embedded server."""
        urls = [self._profile.home, self._profile.log]
        urls += [store.url for store in self._profile.stores.values()]
        return self._profile.embedded or any(map(embedded.is_embedded, urls))

    def __enter__(self) -> Systems:
        if self.uses_embedded:
            self._server_url = self._stack.enter_context(self._server.session())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def revive(self) -> None:
        """Bring the embedded server back if it was killed; raises `Unavailable` if that fails."""
        if self._server_url:
            with self._reviving:
                self._server.ensure()

    def url(self, url: str) -> str:
        """Turn a profile's URL into one to connect to."""
        return embedded.resolve(url, self._server_url)

    @property
    def log_url(self) -> str:
        """Where the topics are."""
        return self.url(self._profile.log)

    @property
    def home_url(self) -> str:
        """Where home and the landings are."""
        return self.url(self._profile.home)

    def home(self, name: str = "home") -> Home:
        """Connect to home."""
        home = Home(self.home_url, name=name)
        home.open()
        return home

    def log(self, segment: Segment) -> Log:
        """Open the log that a segment reads; makes it when it is missing."""
        from penstock.logs import postgresql as logs

        if segment.kind == "landing":
            return self.landing(segment)
        return logs.open_topic(self.log_url, segment.name, segment.partitions, segment.retention)

    def landing(self, segment: Segment) -> LandingLog:
        """Open the landing that a segment reads and its source fills."""
        from penstock.logs import postgresql as logs

        return logs.open_landing(self.home_url, self._pipeline, segment.name, segment.retention)

    def sink(self, lane: Lane, key: LaneKey) -> Sink:
        """Make the sink of a lane; nothing is dialled yet.

        Raises:
            ProfileError: The profile has no such store, or no sink for it.
        """
        if lane.store == LOG_STORE:
            from penstock.logs.topic_sink import TopicSink

            return TopicSink(self.log_url, lane, key)
        url = self.url(self._profile.store(lane.store).url)
        if url.startswith(_POSTGRESQL):
            from penstock.sinks.postgresql import PostgresqlSink

            return PostgresqlSink(url, lane, key)
        scheme = url.partition(":")[0]
        raise ProfileError(
            f"there is no sink for {scheme!r} (store {lane.store!r}); use postgresql"
        )


def _check(profile: Profile) -> None:
    for what, url in (("home", profile.home), ("log", profile.log)):
        if not (url.startswith(_POSTGRESQL) or embedded.is_embedded(url)):
            raise ProfileError(
                f"profile {profile.name!r}: {what} is {url.partition(':')[0]!r}, which cannot be "
                "used; write postgresql://… or embedded:"
            )
    if profile.engine and not embedded.is_embedded(profile.engine):
        raise ProfileError(
            f"profile {profile.name!r}: there is no engine {profile.engine.partition(':')[0]!r}; "
            "leave engine out to use the embedded one"
        )
