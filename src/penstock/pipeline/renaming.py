"""The same pipeline under other names, so that a trial touches nobody's topics and progress."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

from penstock.pipeline.declare import Pipeline
from penstock.pipeline.graph import Node, TopicNode


def renamed(pipeline: Pipeline, namespace: str) -> Pipeline:
    """Copy a pipeline, with a namespace before its name and those of its topics.

    Args:
        pipeline: Stays as it is.
        namespace: Letters, digits and underscores.
    """
    copied: dict[Node, Any] = {}

    def moved(node: Node) -> Any:
        if node not in copied:
            parent = getattr(node, "parent", None)
            changes: dict[str, Any] = {"parent": moved(parent)} if parent else {}
            if isinstance(node, TopicNode):
                changes["name"] = f"{namespace}_{node.name}"
                changes["parents"] = tuple(map(moved, node.parents))
            copied[node] = replace(node, **changes)
        return copied[node]

    other = copy(pipeline)
    other.name = f"{namespace}_{pipeline.name}"
    other._logs = {node.name: node for node in map(moved, pipeline.logs)}
    other._sinks = {node.lane: node for node in map(moved, pipeline.sinks)}
    return other
