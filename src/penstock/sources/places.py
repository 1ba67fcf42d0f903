"""Where the files of a source are: a file system, and which of its files. No dialling on import."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from penstock.errors import ProfileError, Unavailable
from penstock.filesystems import Entry, FileSystem, open_url

_WILD = re.compile(r"[*?\[]")
_TOKEN = re.compile(r"(\*\*/)|(\*)|(\?)|(\[[!^]?\]?[^\]]*\])|(.)", re.DOTALL)
_HIDDEN = (".", "_")


@dataclass(frozen=True)
class Place:
    """Files that are written whole: below one root, by a name or pattern.

    Args:
        url: The root, with options and credentials.
        wanted: The name or pattern below it; empty for everything.
    """

    url: str
    wanted: str

    def open(self) -> FileSystem:
        """Open the file system; nothing is dialled yet."""
        return open_url(self.url)

    def entries(self, files: FileSystem) -> list[Entry]:
        """The files there are now, by name.

        Raises:
            Unavailable: The system is away, or the file or folder is not there.
        """
        self._verify_folder(files)
        if not _WILD.search(self.wanted):
            found = self._named(files)
        else:
            matches = re.compile(pattern(self.wanted)).fullmatch
            found = [entry for entry in files.list() if matches(entry.name)]
        return sorted(found, key=lambda entry: entry.name)

    def _named(self, files: FileSystem) -> list[Entry]:
        one = files.stat(self.wanted) if self.wanted else None
        if one is not None:
            return [one]
        found = [entry for entry in files.list(self.wanted) if not _is_hidden(entry, self.wanted)]
        if not found and self.wanted and not self._folder_is_there():
            raise Unavailable(f"there is no file or folder {files.url}/{self.wanted}")
        return found

    def _verify_folder(self, files: FileSystem) -> None:
        if self.url.startswith("file:") and not Path(self._path()).is_dir():
            raise Unavailable(f"the folder {files.url} does not exist; create it or correct it")

    def _folder_is_there(self) -> bool:
        return self.url.startswith("file:") and (Path(self._path()) / self.wanted).is_dir()

    def _path(self) -> str:
        from urllib.parse import unquote

        return unquote(urlsplit(self.url).path)


def place(text: str) -> Place:
    """Read a URL or a path of this machine.

    Raises:
        ProfileError: It is no URL of files.
    """
    if "://" not in text:
        folder, wanted = _cut(str(Path(text).absolute()))
        return Place(f"file://{quote(folder)}", wanted)
    head, question, options = text.partition("?")
    scheme, _, rest = head.partition("://")
    host, slash, path = rest.partition("/")
    if not slash and not host:
        raise ProfileError(f"{scheme}:// names no place of files")
    folder, wanted = _cut(slash + path)
    return Place(f"{scheme}://{host}{folder}{question}{options}", wanted)


def pattern(wild: str) -> str:
    """A pattern of names as a regular expression.

    `*` and `?` stay within a folder's name, `**/` is any number of folders. Names that begin with
    a dot or an underscore are passed over unless the pattern says so.
    """
    parts = []
    start = True
    for deep, many, one, chosen, plain in _TOKEN.findall(wild):
        unhidden = r"(?![._])" if start and not plain else ""
        if deep:
            parts.append(r"(?:(?![._])[^/]+/)*")
            continue
        parts.append(unhidden + _as_regex(many, one, chosen, plain))
        start = plain == "/"
    return "".join(parts)


def _as_regex(many: str, one: str, chosen: str, plain: str) -> str:
    if many:
        return "[^/]*"
    if one:
        return "[^/]"
    if chosen:
        return "[" + chosen[1:-1].replace("\\", r"\\").replace("!", "^", 1) + "]"
    return re.escape(plain)


def _cut(path: str) -> tuple[str, str]:
    """The folder that is fixed, and what is wanted below it."""
    parts = path.rstrip("/").split("/")
    wild = next((n for n, part in enumerate(parts) if _WILD.search(part)), len(parts) - 1)
    wild = max(wild, 1) if len(parts) > 1 else wild
    return "/".join(parts[:wild]) or ("/" if path.startswith("/") else ""), "/".join(parts[wild:])


def _is_hidden(entry: Entry, folder: str) -> bool:
    below = entry.name.removeprefix(f"{folder}/") if folder else entry.name
    return any(part.startswith(_HIDDEN) for part in below.split("/"))
