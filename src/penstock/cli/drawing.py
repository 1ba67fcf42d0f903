"""Tables and words on the screen. Names and values are never read as markup."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


def table(*columns: str, right: Collection[str] = (), wrap: Collection[str] = ()) -> Table:
    """Make an empty table without lines.

    Args:
        columns: Their names.
        right: Those that hold figures.
        wrap: Those that may take several lines; the others stay whole.
    """
    from rich.table import Table

    drawn = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        justify = "right" if name in right else "left"
        drawn.add_column(name, justify=justify, no_wrap=name not in wrap)  # type: ignore[arg-type]
    return drawn


def words(value: str, style: str = "") -> Text:
    """Put words into a cell, as they are."""
    from rich.text import Text

    return Text(value, style=style)
