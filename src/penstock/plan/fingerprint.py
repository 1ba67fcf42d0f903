"""Fingerprints of code and expressions: equal in every process, changed by every change."""

from __future__ import annotations

import functools
import hashlib
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from penstock.contract import Contract, spec
from penstock.transforms import Explode, Filter, Map, Transform

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
_LIBRARY_NAMES = ("penstock", "pyspark")  # wherever they lie: executors have Spark's own copy
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
_MEMBERS = (types.FunctionType, staticmethod, classmethod, *_PLAIN)
_INCIDENTAL = ("__module__", "__doc__", "__firstlineno__")

Seen = dict[int, Any]
"""What was visited, by id; the values are held so that no id is used twice."""


def digest(parts: Iterator[str]) -> str:
    """Hash the parts, each with its length, so that none can pass for another."""
    hashed = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8, "big") + data)
    return hashed.hexdigest()[:16]


def code(value: Any) -> Iterator[str]:
    """Yield the user's code that a value is made of, or refers to."""
    yield from _value(value, {})


def step(transform: Transform) -> Iterator[str]:
    """Yield what a step's results depend on."""
    yield type(transform).__name__
    yield transform.output.fingerprint
    if isinstance(transform, Map):
        yield from _value(transform.fn, {})
    elif isinstance(transform, Filter):
        yield from _expression(transform.condition)
    elif isinstance(transform, Explode):
        yield transform.field


def _expression(expression: pl.Expr) -> Iterator[str]:
    try:
        yield expression.meta.serialize(format="json")
    except pl.exceptions.ComputeError:  # it holds a Python function, which has no stable form
        yield str(expression)


def _value(value: Any, seen: Seen) -> Iterator[str]:
    """Yield the parts of a value that code refers to; unknown kinds give only their type."""
    if isinstance(value, _PLAIN):
        yield f"{type(value).__name__}:{value!r}"
        return
    if id(value) in seen:
        yield "again"
        return
    seen[id(value)] = value
    yield type(value).__qualname__
    for kinds, parts in _KINDS:
        if isinstance(value, kinds):
            yield from parts(value, seen)
            return
    if _users(type(value)):
        yield from _class(type(value), seen)
        yield from _value(getattr(value, "__dict__", {}), seen)


def _partial(value: Any, seen: Seen) -> Iterator[str]:
    yield from _value((value.func, value.args, value.keywords), seen)


def _method(value: Any, seen: Seen) -> Iterator[str]:
    yield from _value((value.__func__, value.__self__), seen)


def _dict(value: Any, seen: Seen) -> Iterator[str]:
    yield from _all([part for item in value.items() for part in item], seen)


def _set(value: Any, seen: Seen) -> Iterator[str]:
    yield from sorted(digest(_value(item, {})) for item in value)


def _named(value: Any, seen: Seen) -> Iterator[str]:
    yield value.__name__


def _all(values: Any, seen: Seen) -> Iterator[str]:
    yield str(len(values))
    for value in values:
        yield from _value(value, seen)


def _function(fn: types.FunctionType, seen: Seen) -> Iterator[str]:
    yield from _code(fn.__code__, seen)
    yield from _value((fn.__defaults__, fn.__kwdefaults__), seen)
    wrapped = getattr(fn, "__wrapped__", None)
    yield from _value(wrapped, seen)
    for cell in fn.__closure__ or ():
        try:
            yield from _value(cell.cell_contents, seen)
        except ValueError:
            yield "empty cell"
    for name in sorted(_names(fn.__code__)):
        if name in fn.__globals__:
            yield name
            yield from _global(fn.__globals__[name], _names(fn.__code__), seen)


def _global(value: Any, names: set[str], seen: Seen) -> Iterator[str]:
    """A global; of a module of the user's, the members that the code names."""
    if isinstance(value, types.ModuleType) and _users(value):
        for name in sorted(names & vars(value).keys()):
            yield name
            yield from _value(vars(value)[name], seen)
    elif isinstance(value, types.FunctionType) and not _users(value):
        yield f"{value.__module__}.{value.__qualname__}"
    else:
        yield from _value(value, seen)


def _code(code: types.CodeType, seen: Seen) -> Iterator[str]:
    yield code.co_code.hex()
    yield " ".join(code.co_names + code.co_varnames + code.co_freevars)
    yield from _all(code.co_consts, seen)


def _names(code: types.CodeType) -> set[str]:
    """Names that code and the functions inside of it refer to."""
    inner = (_names(const) for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*inner)


def _class(cls: type, seen: Seen) -> Iterator[str]:
    yield cls.__qualname__
    if issubclass(cls, Contract) and cls is not Contract:
        yield spec(cls).fingerprint
    elif _users(cls):
        for name, member in sorted(vars(cls).items()):
            if name not in _INCIDENTAL and isinstance(member, _MEMBERS):
                yield name
                yield from _value(getattr(member, "__func__", member), seen)


def _users(thing: Any) -> bool:
    """Whether a function, class or module is the user's own, not of a library."""
    name = thing.__name__ if isinstance(thing, types.ModuleType) else thing.__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    known = name.partition(".")[0] in _LIBRARY_NAMES
    return not known and file is not None and not file.startswith(_LIBRARIES)


_KINDS: tuple[tuple[Any, Callable[[Any, Seen], Iterator[str]]], ...] = (
    (functools.partial, _partial),
    (types.MethodType, _method),
    (types.FunctionType, _function),
    (types.CodeType, _code),
    (type, _class),
    ((types.ModuleType, types.BuiltinFunctionType), _named),
    (pl.Expr, lambda value, seen: _expression(value)),
    (dict, _dict),
    ((list, tuple), _all),
    ((set, frozenset), _set),
)
