"""Transforms: pure steps from rows to rows, the same on every engine. No I/O in this folder."""

from penstock.transforms.base import Computation, Transform
from penstock.transforms.explode import Explode
from penstock.transforms.filter import Filter
from penstock.transforms.map import Map

__all__ = ["Computation", "Explode", "Filter", "Map", "Transform"]
