"""The systems that a profile names: where they are, and what speaks to them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from penstock.errors import ProfileError
from penstock.filesystems import SCHEMES
from penstock.home.database import Home
from penstock.plan import LOG_STORE
from penstock.profile import SparkSettings
from penstock.profile.urls import with_absolute_files
from penstock.services import postgresql as embedded

if TYPE_CHECKING:
    from types import TracebackType

    from penstock.interfaces import Log, Sink
    from penstock.logs.landing import LandingLog
    from penstock.pipeline import Retention
    from penstock.plan import Lane, Segment
    from penstock.profile import Profile
    from penstock.records import LaneKey

ROOT = Path(".penstock")
"""Where the embedded PostgreSQL lives, unless told otherwise."""

_POSTGRESQL = ("postgresql:", "postgres:")
_KAFKA = "kafka:"
_CASSANDRA = "cassandra:"


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
        self.pipeline = pipeline
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

    @property
    def spark(self) -> SparkSettings:
        """How the Spark engine is to be."""
        return self._profile.spark

    def for_executors(self) -> Profile:
        """The stores as other processes can use them; home and log are none of their business."""
        stores = self._profile.stores.items()
        return replace(
            self._profile,
            home="embedded:",
            log="embedded:",
            engine=None,
            spark=SparkSettings(),
            stores={
                name: replace(one, url=with_absolute_files(self.url(one.url)))
                for name, one in stores
            },
        )

    def home(self, name: str = "home") -> Home:
        """Connect to home."""
        home = Home(self.home_url, name=name)
        home.open()
        return home

    def log(self, segment: Segment) -> Log:
        """Open the log that a segment reads; makes it when it is missing."""
        if segment.kind == "landing":
            return self.landing(segment)
        partitions = None if segment.external else segment.partitions
        return self.topic(segment.name, partitions, segment.retention)

    def topic(
        self, name: str, partitions: int | None = None, retention: Retention | None = None
    ) -> Log:
        """Open a topic.

        Args:
            name: Which.
            partitions: How many it is to have, if it is this pipeline's to make; None takes it
                as it is.
            retention: What it keeps, if it is made.
        """
        if self.log_url.startswith(_KAFKA):
            from penstock.logs import kafka

            return kafka.open_topic(
                self.log_url, name, partitions, retention, pipeline=self.pipeline
            )
        from penstock.logs import postgresql

        return postgresql.open_topic(self.log_url, name, partitions, retention)

    @property
    def gapless(self) -> bool:
        """Whether each offset of a topic holds a record, so that offsets alone count them."""
        return not self.log_url.startswith(_KAFKA)

    def compacted(self, topic: str) -> bool:
        """Whether a topic loses records that later ones of the same key replace."""
        if self.gapless:
            return False
        from penstock.logs import kafka

        return kafka.compacted(self.log_url, topic)

    def topic_id(self, segment: Segment) -> str | None:
        """Tell the identity of a topic in Kafka that a segment reads; None when it is yet to make.

        Raises:
            Refused: Others should have made it.
        """
        from penstock.logs import kafka

        return kafka.identity(self.log_url, segment.name, ours=not segment.external)

    def tables_of(self, segment: Segment) -> str | None:
        """Where the tables of a segment's log are; None when its system keeps it small itself."""
        if segment.kind == "landing":
            return self.home_url
        return None if self.log_url.startswith(_KAFKA) else self.log_url

    def landing(self, segment: Segment) -> LandingLog:
        """Open the landing that a segment reads and its source fills."""
        from penstock.logs import postgresql as logs

        landing = logs.open_landing(self.home_url, self.pipeline, segment.name, segment.retention)
        try:
            landing.encrypt(segment.encrypt)
        except BaseException:
            landing.close()
            raise
        return landing

    def sink(self, lane: Lane, key: LaneKey) -> Sink:
        """Make the sink of a lane; nothing is dialled yet.

        Raises:
            ProfileError: The profile has no such store, or no sink for it.
        """
        if lane.store == LOG_STORE:
            return self._topic_sink(lane, key)
        store = self._profile.store(lane.store)
        url = self.url(store.url)
        if url.startswith(_POSTGRESQL):
            from penstock.sinks.postgresql import PostgresqlSink

            return PostgresqlSink(url, lane, key)
        if url.startswith(_CASSANDRA):
            from penstock.sinks.cassandra import CassandraSink

            return CassandraSink(store, lane, key)
        if url.startswith(SCHEMES):
            from penstock.sinks.files import FileSink

            return FileSink(store, lane, key)
        if url.startswith(_KAFKA):
            from penstock.logs.kafka.store_sink import KafkaStoreSink

            return KafkaStoreSink(store, lane, key)
        raise ProfileError(
            f"there is no sink for {store.scheme!r} (store {lane.store!r}); "
            "use postgresql, cassandra, kafka, file, s3 or hdfs"
        )

    def _topic_sink(self, lane: Lane, key: LaneKey) -> Sink:
        if self.log_url.startswith(_KAFKA):
            from penstock.logs.kafka.topic_sink import KafkaTopicSink

            return KafkaTopicSink(self.log_url, lane, key)
        from penstock.logs.topic_sink import TopicSink

        return TopicSink(self.log_url, lane, key)


def _check(profile: Profile) -> None:
    kinds = {"home": _POSTGRESQL, "log": (*_POSTGRESQL, _KAFKA)}
    for (what, schemes), url in zip(kinds.items(), (profile.home, profile.log), strict=True):
        if not (url.startswith(schemes) or embedded.is_embedded(url)):
            known = "postgresql://…" + (", kafka://…" if _KAFKA in schemes else "")
            raise ProfileError(
                f"profile {profile.name!r}: {what} is {url.partition(':')[0]!r}, which cannot be "
                f"used; write {known} or embedded:"
            )
    if profile.on_spark and not profile.log.startswith(_KAFKA):
        raise ProfileError(
            f"profile {profile.name!r}: the engine {profile.engine!r} reads topics from Kafka, but "
            f'log is {profile.log.partition(":")[0]!r}; write log = "kafka://host:9092", or '
            "leave engine out to use the embedded one"
        )
