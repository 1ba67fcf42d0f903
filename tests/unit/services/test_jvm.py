from __future__ import annotations

import string
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from penstock.services.jvm import properties_file

KEYS = st.text(string.printable.strip() + " äß€😀", min_size=1)


def java_reads(text: str) -> dict[str, str]:
    """What java.util.Properties makes of our lines, by its documentation."""
    found = {}
    for line in text.splitlines():
        parts, unread = ["", ""], iter(line)
        at = 0
        for character in unread:
            if character == "=" and at == 0:
                at = 1
            elif character == "\\":
                escaped = next(unread)
                if escaped == "u":
                    parts[at] += chr(int("".join(next(unread) for _ in range(4)), 16))
                else:
                    parts[at] += escaped
            else:
                assert parts[at] or character not in (" \t\f" if at else " \t\f#!:"), "skipped"
                parts[at] += character
        found[parts[0]] = parts[1].encode("utf-16", "surrogatepass").decode("utf-16")
    return {key.encode("utf-16", "surrogatepass").decode("utf-16"): v for key, v in found.items()}


@given(st.dictionaries(KEYS, st.text(st.characters(exclude_categories=["Cs"]))))
def test_java_reads_what_was_written(settings: dict[str, str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "server.properties"
        properties_file(path, settings)
        assert java_reads(path.read_text("ascii")) == settings
