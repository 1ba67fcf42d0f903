"""The immutable graph that a program declares. Each node knows its parent and its user's line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from penstock.contract import ContractSpec
    from penstock.interfaces import Source
    from penstock.pipeline.settings import Retention
    from penstock.profile import EnvVar
    from penstock.site import Site
    from penstock.transforms import Transform

Mode = Literal["upsert", "append"]


@dataclass(frozen=True, eq=False)
class Node:
    """One step of a pipeline; two nodes are the same only if they are one object.

    Args:
        spec: The contract of the rows that leave it; of a log, that of its records.
        key: Key columns of these rows; empty without a key.
        site: Where it was declared.
    """

    spec: ContractSpec
    key: tuple[str, ...]
    site: Site

    @property
    def rows(self) -> ContractSpec:
        """The contract of the rows that go on from here: what is to be masked is."""
        return self.spec.masked


@dataclass(frozen=True, eq=False)
class LandingNode(Node):
    """A source and the landing that its responses are kept in."""

    name: str
    source: Source
    retention: Retention | None
    encrypt: tuple[EnvVar, ...] = ()


@dataclass(frozen=True, eq=False)
class TopicNode(Node):
    """A topic; `parents` are what is written to it, none when others write it."""

    name: str
    parents: tuple[Node, ...]
    partitions: int | None
    retention: Retention | None


@dataclass(frozen=True, eq=False)
class StepNode(Node):
    """A transform of the rows of its parent."""

    parent: Node
    transform: Transform


@dataclass(frozen=True, eq=False)
class SinkNode(Node):
    """A table that the rows of its parent are written to; `mode` None is chosen by the key."""

    parent: Node
    table: str
    store: str
    mode: Mode | None

    @property
    def lane(self) -> str:
        """The lane's name."""
        return f"{self.table}@{self.store}"


LogNode = LandingNode | TopicNode


def path_of(node: Node) -> tuple[StepNode, ...]:
    """The steps between a node and the log above it, in the order of the flow."""
    path: list[StepNode] = []
    while isinstance(node, StepNode):
        path.append(node)
        node = node.parent
    return tuple(reversed(path))


def log_of(node: Node) -> LogNode:
    """The log that the rows of a node are read from."""
    while isinstance(node, StepNode):
        node = node.parent
    assert isinstance(node, LandingNode | TopicNode)  # noqa: S101
    return node
