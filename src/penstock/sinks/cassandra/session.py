"""A session with a Cassandra cluster: every wait in it ends, every error of it is one of ours."""

from __future__ import annotations

import logging
import ssl
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from cassandra import ConsistencyLevel, ProtocolVersion
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, ResponseFuture
from cassandra.policies import (
    ConstantReconnectionPolicy,
    DCAwareRoundRobinPolicy,
    FallthroughRetryPolicy,
)
from cassandra.query import PreparedStatement, Statement, dict_factory, tuple_factory

from penstock.errors import ProfileError, Refused, Rejected
from penstock.sinks.cassandra.address import Address
from penstock.sinks.cassandra.failures import DRIVER_ERRORS, said
from penstock.sinks.cassandra.wire import Handler

CONNECT_TIMEOUT = 5.0
"""Seconds for one connection, its TLS and its login."""

TIMEOUT = 10.0
"""Seconds for the answer to one request: more than any of the server's own time-outs."""

PAGE = 1000
"""Rows of one page of a query."""

_TUPLES = "tuples"

# The driver logs what it then raises, with tracebacks, and the server's warnings of batches that
# are large or of several partitions: ours are, within limits.
logging.getLogger("cassandra").setLevel(logging.CRITICAL)


class Session:
    """Connections to a cluster.

    Args:
        address: Where it is and who we are.
        name: Who connects, for the server's list of clients.

    Raises:
        Unavailable: No contact point answers.
        Refused: The login is refused, or a certificate not trusted.
        ProfileError: A file that the URL names cannot be read.
    """

    def __init__(self, address: Address, name: str) -> None:
        self.place = f"Cassandra at {address.url}"
        self._serial = _serial(address)
        self._local = DCAwareRoundRobinPolicy(address.datacenter or "")
        self._cluster = Cluster(
            [*address.points],
            port=address.points[0][1],
            auth_provider=_login(address),
            ssl_context=_tls(address) if address.tls else None,
            protocol_version=ProtocolVersion.V4,
            compression=False,
            execution_profiles=_profiles(address, self._local),
            reconnection_policy=ConstantReconnectionPolicy(1.0, None),
            connect_timeout=CONNECT_TIMEOUT,
            control_connection_timeout=CONNECT_TIMEOUT,
            schema_metadata_enabled=False,
            monitor_reporting_enabled=False,
            application_name=f"penstock:{name}",
        )
        try:
            with said(self.place):
                self._session = self._cluster.connect()
        except BaseException as error:
            self._shut()
            self._name_the_datacenter(address, error)
            raise
        self._session.client_protocol_handler = Handler
        self._session.use_client_timestamp = False
        self._prepared: dict[str, PreparedStatement] = {}

    def prepare(self, statement: str) -> PreparedStatement:
        """Prepare a statement, once; values stand for `?`."""
        found = self._prepared.get(statement)
        if found is None:
            with said(self.place):
                found = self._prepared[statement] = self._session.prepare(statement)
        return found

    def run(self, statement: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        """Run one statement and return its rows."""
        return self.execute(self.prepare(statement).bind(values))

    def run_serial(self, statement: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        """Run a query that sees conditional writes, those in flight included."""
        bound = self.prepare(statement).bind(values)
        bound.consistency_level = self._serial
        return self.execute(bound)

    def change(self, statement: str) -> None:
        """Run a statement that changes keyspaces or tables; waits until all nodes agree."""
        with said(self.place):
            self._session.execute(statement, timeout=6 * TIMEOUT)

    def execute(self, statement: Statement) -> list[dict[str, Any]]:
        """Run one statement that is bound already, or a batch of such."""
        with said(self.place):
            return list(self._session.execute(statement))

    def stream(self, statement: str) -> Iterator[list[tuple[Any, ...]]]:
        """Run a query and yield its rows page by page."""
        bound = self.prepare(statement).bind(())
        bound.fetch_size = PAGE
        with said(self.place):
            pages = self._session.execute(bound, execution_profile=_TUPLES)
            yield pages.current_rows
            while pages.has_more_pages:
                pages.fetch_next_page()
                yield pages.current_rows

    def start(self, statement: Statement, host: Any = None) -> ResponseFuture:
        """Send a statement and do not wait for its answer.

        Args:
            statement: What to send.
            host: The node to send it to; None lets the driver choose.
        """
        return self._session.execute_async(statement, host=host)

    def setting(self, name: str) -> str | None:
        """Ask the server for a setting of its own; None when it does not tell."""
        try:
            found = self.run("SELECT value FROM system_views.settings WHERE name = ?", [name])
        except (Rejected, Refused):  # an older server has no such table, or we no right to it
            return None
        return found[0]["value"] if found else None

    @property
    def nodes(self) -> int:
        """How many nodes the cluster has, those that are down included."""
        return len(self._cluster.metadata.all_hosts())

    def owners(self) -> Owners:
        """The nodes of our datacenter, as the ring stands now, without those that are down."""
        tokens = self._cluster.metadata.token_map
        owners = tokens.token_to_host_owner.items() if tokens else ()
        near = self._local.local_dc
        return Owners([(t.value, h) for t, h in owners if h.datacenter == near and h.is_up])

    def close(self) -> None:
        """Disconnect; never raises."""
        self._shut()

    def _shut(self) -> None:
        with suppress(*DRIVER_ERRORS, RuntimeError):
            self._cluster.shutdown()

    def _name_the_datacenter(self, address: Address, error: BaseException) -> None:
        known = sorted(
            {str(host.datacenter) for host in self._cluster.metadata.all_hosts()} - {"None"}
        )
        if address.datacenter and known and address.datacenter not in known:
            raise Refused(
                f"{self.place} has no datacenter {address.datacenter!r}; it has {', '.join(known)}"
            ) from error


class Owners:
    """Which node owns a token: the one at the next token round the ring.

    Args:
        ring: Tokens and their nodes.
    """

    def __init__(self, ring: Sequence[tuple[int, Any]]) -> None:
        ring = sorted(ring, key=lambda pair: pair[0])
        hosts = list(dict.fromkeys(host for _, host in ring))
        self._tokens = [token for token, _ in ring]
        self._places = [hosts.index(host) for _, host in ring]
        self._hosts = hosts
        self.several = len(hosts) > 1

    def place(self, token: int) -> int:
        """Number the node that owns a token; it holds the row's first copy."""
        return self._places[bisect_left(self._tokens, token) % len(self._places)]

    def host(self, place: int | None) -> Any:
        """Name a node by its number; None is none."""
        return None if place is None else self._hosts[place]


def _profiles(address: Address, local: DCAwareRoundRobinPolicy) -> dict[Any, ExecutionProfile]:
    """Make the profiles of writes and of long reads; both try once, and say what happened."""
    level = ConsistencyLevel.name_to_value[address.consistency]

    def profile(rows: Any) -> ExecutionProfile:
        return ExecutionProfile(
            load_balancing_policy=local,
            retry_policy=FallthroughRetryPolicy(),
            consistency_level=level,
            serial_consistency_level=_serial(address),
            request_timeout=TIMEOUT,
            row_factory=rows,
        )

    return {
        EXEC_PROFILE_DEFAULT: profile(dict_factory),
        _TUPLES: profile(tuple_factory),
    }


def _serial(address: Address) -> int:
    near = address.consistency.startswith("LOCAL_")
    return int(ConsistencyLevel.LOCAL_SERIAL if near else ConsistencyLevel.SERIAL)


def _login(address: Address) -> PlainTextAuthProvider | None:
    return PlainTextAuthProvider(address.user, address.password) if address.user else None


def _tls(address: Address) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=address.ca)
        if address.cert:
            context.load_cert_chain(address.cert, address.key)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(filter(None, (address.ca, address.cert, address.key)))
        raise ProfileError(
            f"{address.url}: the certificates ({files}) cannot be read: {error}; they must be PEM"
        ) from error
    return context
