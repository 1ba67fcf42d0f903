"""Running a program's file to get its pipeline."""

from __future__ import annotations

import hashlib
import linecache
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from penstock.errors import DeclarationError, PenstockError
from penstock.pipeline.declare import Pipeline
from penstock.pipeline.renaming import renamed
from penstock.profile.apart import VARIABLE


def load(path: Path | str) -> Pipeline:
    """Run a program and return the pipeline it declares.

    The program's folder joins `sys.path`, so that it may import its neighbours. In a run of a crash
    test, the pipeline is set apart, under a name of its own.

    Args:
        path: The program's file.

    Raises:
        DeclarationError: It does not run, or does not hold exactly one pipeline.
    """
    file = Path(path).absolute()
    module = _module(file)
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    _run(file, module)
    pipeline = _only_pipeline(file, module)
    namespace = os.environ.get(VARIABLE)
    return renamed(pipeline, namespace) if namespace else pipeline


def _module(file: Path) -> ModuleType:
    """An empty module that annotations and sources of functions can be looked up in."""
    digest = hashlib.sha256(str(file).encode()).hexdigest()[:8]
    module = ModuleType(f"penstock_program_{file.stem}_{digest}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module
    return module


def _run(file: Path, module: ModuleType) -> None:
    # Not by importlib: its cached bytecode may be stale after two edits within a second.
    linecache.checkcache(str(file))
    try:
        code = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102
    except PenstockError:
        raise
    except OSError as error:
        if error.filename != str(file):
            raise _failed(file, error) from error
        raise DeclarationError(f"the program {file} cannot be read: {error.strerror}") from error
    except SyntaxError as error:
        raise DeclarationError(
            f"the program is not Python: {error.msg}", file=error.filename, line=error.lineno
        ) from error
    except (Exception, SystemExit) as error:  # a program is anything
        raise _failed(file, error) from error


def _failed(file: Path, error: BaseException) -> DeclarationError:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_relative_to(file.parent)]
    inner = [f for f in own if "site-packages" not in f.filename]
    place = inner[-1] if inner else None
    return DeclarationError(
        f"the program stopped with {type(error).__name__}: {error}",
        file=place.filename if place else str(file),
        line=place.lineno if place else None,
    )


def _only_pipeline(file: Path, module: ModuleType) -> Pipeline:
    found = {id(v): (k, v) for k, v in vars(module).items() if isinstance(v, Pipeline)}
    if len(found) == 1:
        return next(iter(found.values()))[1]
    if not found:
        raise DeclarationError(
            "the program declares no pipeline; write `pipeline = ps.Pipeline(...)` in it",
            file=str(file),
        )
    names = ", ".join(name for name, _ in found.values())
    raise DeclarationError(
        f"the program declares {len(found)} pipelines ({names}); a program has one: "
        "move the others to files of their own",
        file=str(file),
    )
