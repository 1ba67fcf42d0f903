"""What a program calls: `Pipeline` and `Stream`. Each call adds a node, none does I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from penstock.contract import Contract, ContractSpec, spec
from penstock.contract.masks import keeps_keys
from penstock.contract.spec import KEYLESS
from penstock.interfaces import Framing
from penstock.pipeline import names
from penstock.pipeline.graph import LandingNode, Mode, Node, SinkNode, StepNode, TopicNode, log_of
from penstock.profile import EnvVar
from penstock.site import Site, caller
from penstock.transforms import Explode, Filter, Map, Transform

if TYPE_CHECKING:
    import polars as pl

    from penstock.interfaces import Source
    from penstock.pipeline.settings import Retention

_MOST_PARTITIONS = 1000


class Pipeline:
    """A named set of streams from sources and topics to sinks. Declaring does no I/O.

    Args:
        name: Progress, landings and dead letters are kept under it: renaming starts anew.

    Example:
        pipeline = ps.Pipeline("users")
        people = pipeline.source(ps.Http(ps.env("API"), every="1m"), Person, land="raw_users")
        people.map(to_user, User).topic("users_created").sink("users", store="warehouse")
    """

    def __init__(self, name: str) -> None:
        self.site = caller()
        names.check(self.site, "pipeline", name)
        self.name = name
        self._logs: dict[str, LandingNode | TopicNode] = {}
        self._sinks: dict[str, SinkNode] = {}

    def __repr__(self) -> str:
        return f"Pipeline({self.name!r})"

    @property
    def logs(self) -> tuple[LandingNode | TopicNode, ...]:
        """Landings and topics in the order of declaration."""
        return tuple(self._logs.values())

    @property
    def sinks(self) -> tuple[SinkNode, ...]:
        """Tables in the order of declaration."""
        return tuple(self._sinks.values())

    def source(
        self,
        source: Source,
        contract: type[Contract],
        *,
        land: str,
        retention: Retention | None = None,
        encrypt: EnvVar | Sequence[EnvVar] = (),
    ) -> Stream:
        """Poll a source, keep its responses exactly as they come, and read records from them.

        Args:
            source: What is polled, such as `ps.Http(...)`.
            contract: What a record looks like.
            land: Name of the landing that keeps the responses.
            retention: How long they are kept; None is for ever.
            encrypt: Where the key is with which bodies, headers and cursors are encrypted before
                they are stored: `ps.env("LANDING_KEY")`. Of several, the first one writes and all
                of them read: a new key is put before the old one.

        Raises:
            DeclarationError: The name is taken or cannot be one, or `contract` is no contract.
        """
        site = caller()
        names.check_landing(site, land)
        keys = (encrypt,) if isinstance(encrypt, EnvVar) else tuple(encrypt)
        if not all(isinstance(key, EnvVar) for key in keys):
            raise site.error(
                "a landing is encrypted with a key from the environment, never with one from the "
                'program; write encrypt=ps.env("LANDING_KEY")'
            )
        if not isinstance(getattr(source, "framing", None), Framing):
            raise site.error(
                f"{source!r} is no source, it has no `framing`; write ps.Http(...), ps.Files(...) "
                "or an object with the methods of penstock.interfaces.Source"
            )
        shape = _spec(site, contract)
        node = LandingNode(shape, shape.key, site, land, source, retention, keys)
        self._add_log(node)
        return Stream(self, node)

    def topic(
        self, name: str, contract: type[Contract], key: str | Sequence[str] | None = None
    ) -> Stream:
        """Read a topic that others write.

        Args:
            name: The topic's name in the log.
            contract: What a record looks like.
            key: Columns that the topic is keyed by; None is the contract's key.

        Raises:
            DeclarationError: The name is taken or cannot be one, or the key is no key.
        """
        site = caller()
        names.check(site, "topic", name)
        shape = _spec(site, contract)
        node = TopicNode(shape, _key(site, shape, key), site, name, (), None, None)
        self._add_log(node)
        return Stream(self, node)

    def _add_log(self, node: LandingNode | TopicNode) -> None:
        other = self._logs.setdefault(node.name, node)
        if other is not node:
            kind = "landing" if isinstance(other, LandingNode) else "topic"
            raise node.site.error(
                f"the name {node.name!r} is taken by the {kind} declared at {other.site}; "
                "choose another name, or go on from the stream that was returned there"
                + _cure(node, other)
            )

    def _add_sink(self, node: SinkNode) -> None:
        other = self._sinks.setdefault(node.lane, node)
        if other is node:
            return
        what = f"the table {node.table!r} of store {node.store!r}"
        if other.spec != node.spec:
            raise node.site.error(
                f"{what} gets rows of {node.spec.name} here and of {other.spec.name} "
                f"at {other.site}; a table has one contract: write to another table"
            )
        raise node.site.error(
            f"{what} is written at {other.site} already; a table has one sink: remove this one, "
            'or bring both streams together first: a.merge(b).topic("name").sink(...)'
        )


class Stream:
    """Rows of one contract on their way. Streams are made by `Pipeline` and by each other."""

    def __init__(self, pipeline: Pipeline, node: Node) -> None:
        self.pipeline = pipeline
        self.node = node

    def __repr__(self) -> str:
        return f"Stream of {self.node.spec.name} in {self.pipeline!r}"

    def map(self, fn: Callable[[pl.DataFrame], pl.DataFrame], contract: type[Contract]) -> Stream:
        """Compute other rows, one for each row and in the same order.

        Args:
            fn: Gets a frame with the columns of the contract above and returns one that fits
                `contract`. Row-wise: a row's result depends on this row alone, not on a clock,
                on chance or on other rows. It may be called on any thread.
            contract: What the rows look like afterwards.

        Raises:
            DeclarationError: `fn` does not take one frame, or `contract` is no contract.
        """
        site = caller()
        shape = _rows_spec(site, contract)
        return self._step(site, Map(site, self.node.rows, shape, fn), shape.key)

    def filter(self, condition: pl.Expr) -> Stream:
        """Keep the rows for which a condition is true; null counts as false.

        A delete passes every filter: the row may be in the table. A newer version of a row that
        does not pass leaves the older one, which did, in the table.

        Args:
            condition: An expression over the contract's columns, row-wise as a map.

        Raises:
            DeclarationError: It is no condition over columns that the contract has.
        """
        site = caller()
        return self._step(site, Filter(site, self.node.rows, condition), self.node.key)

    def explode(self, field: str, contract: type[Contract]) -> Stream:
        """Make a row of each element of a list; an empty list gives no row.

        Args:
            field: Name of a field that is a list.
            contract: The same contract with the element's type for this field.

        Raises:
            DeclarationError: There is no such list, or the contracts differ elsewhere.
        """
        site = caller()
        shape = _rows_spec(site, contract)
        return self._step(site, Explode(site, self.node.rows, shape, field), shape.key)

    def topic(
        self,
        name: str,
        partitions: int = 1,
        key: str | Sequence[str] | None = None,
        retention: Retention | None = None,
    ) -> Stream:
        """Write the rows to a topic, and go on from there.

        Args:
            name: The topic's name in the log.
            partitions: Over how many partitions rows are spread, by their key.
            key: Columns that key the topic; None is the contract's key.
            retention: How long the topic keeps records; None is for ever.

        Raises:
            DeclarationError: The name is taken or cannot be one, or the key is no key.
        """
        return Merged(self.pipeline, (self.node,))._topic(
            caller(), name, partitions, key, retention
        )

    def merge(self, *others: Stream) -> Merged:
        """Bring this stream and others together in one topic, which `.topic(...)` names.

        The topic's order says which of two records of a key is the newer one, whatever stream it
        came from. Each stream writes the topic by itself: when one waits, the others go on.

        Args:
            others: Streams of this pipeline with the same contract and key. Each comes from
                another landing or topic than this one and the rest.

        Raises:
            DeclarationError: They differ, or two come from the same log.

        Example:
            users = web.map(from_web, User).merge(app.map(from_app, User)).topic("users")
            users.sink("users", store="warehouse")
        """
        site = caller()
        if not others:
            raise site.error("there is nothing to merge; write first.merge(second)")
        for other in others:
            _check_alike(site, self, other)
        logs: dict[Node, Stream] = {}
        for stream in (self, *others):
            log = log_of(stream.node)
            if log in logs:
                raise site.error(
                    f"two of the merged streams come from {log.name!r}, so that nothing says in "
                    "which order their rows come; make one stream of them: by one map, or by one "
                    'filter with "|" between the conditions'
                )
            logs[log] = stream
        return Merged(self.pipeline, tuple(stream.node for stream in logs.values()))

    def sink(self, table: str, *, store: str, mode: Mode | None = None) -> None:
        """Write the rows to a table.

        Args:
            table: The table's name.
            store: Which store of the profile it is in.
            mode: `"upsert"` keeps the newest row of each key, `"append"` keeps every row with its
                position. None is upsert when there is a key and a topic before it.

        Raises:
            DeclarationError: The names cannot be ones, or the table has another sink.
        """
        site = caller()
        names.check(site, "table", table)
        names.check_store(site, store)
        if mode not in ("upsert", "append", None):
            raise site.error(f"a sink's mode is 'upsert' or 'append', not {mode!r}")
        node = self.node
        self.pipeline._add_sink(SinkNode(node.rows, node.key, site, node, table, store, mode))

    def _step(self, site: Site, transform: Transform, key: tuple[str, ...]) -> Stream:
        return Stream(self.pipeline, StepNode(transform.output, key, site, self.node, transform))


class Merged:
    """Streams that are to be brought together in one topic. `Stream.merge` makes it."""

    def __init__(self, pipeline: Pipeline, nodes: tuple[Node, ...]) -> None:
        self.pipeline = pipeline
        self.nodes = nodes

    def __repr__(self) -> str:
        return f"{len(self.nodes)} streams of {self.nodes[0].spec.name} in {self.pipeline!r}"

    def topic(
        self,
        name: str,
        partitions: int = 1,
        key: str | Sequence[str] | None = None,
        retention: Retention | None = None,
    ) -> Stream:
        """Write the rows of all streams to one topic, and go on from there.

        Arguments and errors are those of `Stream.topic`.
        """
        return self._topic(caller(), name, partitions, key, retention)

    def _topic(
        self,
        site: Site,
        name: str,
        partitions: int,
        key: str | Sequence[str] | None,
        retention: Retention | None,
    ) -> Stream:
        names.check(site, "topic", name)
        if type(partitions) is not int or not 1 <= partitions <= _MOST_PARTITIONS:
            raise site.error(
                f"topic {name!r} cannot have {partitions!r} partitions; "
                f"write a number from 1 to {_MOST_PARTITIONS}"
            )
        first = self.nodes[0]
        if key is None and any(other.key != first.key for other in self.nodes):
            raise site.error(
                f"the streams merged into {name!r} have different keys; say which by key=…"
            )
        columns = first.key if key is None else _key(site, first.rows, key)
        node = TopicNode(first.rows, columns, site, name, self.nodes, partitions, retention)
        self.pipeline._add_log(node)
        return Stream(self.pipeline, node)


def _cure(node: Node, other: Node) -> str:
    """What to write when two streams were to be in one topic."""
    if not all(isinstance(one, TopicNode) and one.parents for one in (node, other)):
        return ""
    return '; to write both streams to it, say a.merge(b).topic("name")'


def _check_alike(site: Site, first: Stream, other: object) -> None:
    """Refuse to merge what could not be in one topic."""
    if not isinstance(other, Stream):
        raise site.error(f"{other!r} is no stream; merge what source, topic, map and filter return")
    if other.pipeline is not first.pipeline:
        raise site.error(
            f"the pipeline {other.pipeline.name!r} is another one than {first.pipeline.name!r}; "
            'read its topic with pipeline.topic("name", Contract), and merge that'
        )
    if other.node.rows != first.node.rows:
        raise site.error(
            f"rows of {first.node.spec.name} and {other.node.spec.name} cannot be in one topic; "
            "map them to one contract first"
        )


def _spec(site: Site, contract: type[Contract]) -> ContractSpec:
    if not (isinstance(contract, type) and issubclass(contract, Contract)):
        raise site.error(f"{contract!r} is no contract; write a class that derives ps.Contract")
    return spec(contract)


def _rows_spec(site: Site, contract: type[Contract]) -> ContractSpec:
    """Read the contract of what a step gives: it was masked before, or never will be."""
    shape = _spec(site, contract)
    if shape.masks:
        raise site.error(
            f"{shape.name} has masked fields, but it is what a step gives, and steps see only "
            "masked rows; put ps.masked(...) on the contract of the source or topic that is read, "
            "and here the type of what is masked: mostly `str`"
        )
    return shape


def _key(site: Site, shape: ContractSpec, key: str | Sequence[str] | None) -> tuple[str, ...]:
    if key is None:
        return shape.key
    columns = (key,) if isinstance(key, str) else tuple(key)
    if not columns or len(set(columns)) < len(columns):
        raise site.error(f"the key {key!r} must name one or more different fields")
    fields = {field.name: field for field in shape.fields}
    for column in columns:
        if column not in fields:
            raise site.error(
                f"{shape.name} has no field {column!r} to be keyed by; it has {', '.join(fields)}"
            )
        if fields[column].nullable:
            raise site.error(
                f"{shape.name}.{column} may be null, so it cannot be a key; "
                "declare it without `| None`"
            )
        if not keeps_keys(fields[column]):
            raise site.error(
                f"{shape.name}.{column} is masked so that different values become equal, so it "
                "cannot be a key; mask it by hash or tokenise"
            )
        if isinstance(fields[column].type, KEYLESS):
            raise site.error(
                f"{shape.name}.{column} is {fields[column].type.words}, which cannot be a key"
            )
    return columns
