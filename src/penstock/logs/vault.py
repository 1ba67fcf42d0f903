"""Encrypts what a landing keeps, by AES-256-GCM, before it reaches PostgreSQL.

Sealed bytes are a NUL and a version, four bytes that name the key, a nonce of twelve, and the
ciphertext with its tag; so they are never JSON. They are bound to the landing and to what they
are (a body, headers, a cursor), and open nowhere else. Headers and cursors are held as base64.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock.errors import Refused
from penstock.profile.derivation import derived

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from penstock.profile import EnvVar

SEALED = "penstock-sealed"
"""The one header of a record that is sealed, and the one member of such a cursor."""

SEALED_HEAD = f'[["{SEALED}", "'.encode()
"""How the headers of a sealed record begin."""

_VERSION = b"\0\1"
_NAME = 4
_NONCE = 12
_PURPOSE = b"penstock landing"


class Vault:
    """Seals and opens what one landing holds.

    Args:
        landing: The landing's identity.
        keys: Where the keys are: the first one seals, all of them open.

    Raises:
        ProfileError: A key is not in the environment or too short, or cryptography is missing.
    """

    def __init__(self, landing: str, keys: Sequence[EnvVar]) -> None:
        self._landing = landing.encode()
        secrets = [key.secret() for key in keys]
        self._ciphers = {_name(secret): _cipher(secret) for secret in secrets}
        self._first = _name(secrets[0]) if secrets else b""
        self._words = ", ".join(key.name for key in keys)

    def seal(self, what: bytes, value: bytes) -> bytes:
        """Encrypt.

        Args:
            what: `body`, `headers` or `cursor`; the same opens it.
            value: The bytes.
        """
        nonce = os.urandom(_NONCE)
        sealed = self._ciphers[self._first].encrypt(nonce, value, self._bound(what))
        return _VERSION + self._first + nonce + sealed

    def open(self, what: bytes, sealed: bytes) -> bytes:
        """Decrypt.

        Raises:
            Refused: None of the keys sealed it, or it was changed since.
        """
        name, rest = sealed[2 : 2 + _NAME], sealed[2 + _NAME :]
        if not sealed.startswith(_VERSION) or name not in self._ciphers:
            known = (
                f"the keys that are given ({self._words}) are others"
                if self._words
                else ("the source is declared without encrypt=")
            )
            raise Refused(
                f"a {what.decode()} in the landing is encrypted with the key {name.hex()}, but "
                f"{known}; name the variable that holds it in encrypt=, behind the newer ones"
            )
        from cryptography.exceptions import InvalidTag

        try:
            return self._ciphers[name].decrypt(rest[:_NONCE], rest[_NONCE:], self._bound(what))
        except InvalidTag:
            raise Refused(
                f"a {what.decode()} in the landing was changed after it was encrypted, or comes "
                "from another landing: it does not open. Bring it back from a backup"
            ) from None

    def headers(self, headers: str | None) -> str | None:
        """Seal headers; also when there are none, since this tells that the body is sealed."""
        if not self._first:
            return headers
        sealed = self.seal(b"headers", json.dumps(headers).encode())
        return json.dumps([[SEALED, base64.b64encode(sealed).decode()]])

    def opened(self, value: bytes, headers: bytes | None) -> tuple[bytes, bytes | None]:
        """Open a record, if it is sealed; others were landed before."""
        if (sealed := _sealed(headers)) is None:
            return value, headers
        found = json.loads(self.open(b"headers", sealed))
        return self.open(b"body", value), None if found is None else found.encode()

    def body(self, value: bytes) -> bytes:
        """Seal a body."""
        return self.seal(b"body", value) if self._first else value

    def cursor(self, cursor: str) -> str:
        """Seal a cursor's JSON: it may hold what a record holds."""
        if not self._first:
            return cursor
        return json.dumps(
            {SEALED: base64.b64encode(self.seal(b"cursor", cursor.encode())).decode()}
        )

    def opened_cursor(self, cursor: str) -> Any:
        """Read a cursor's JSON; one that was landed before encryption is plain."""
        found = json.loads(cursor)
        if not isinstance(found, dict) or list(found) != [SEALED]:
            return found
        return json.loads(self.open(b"cursor", base64.b64decode(found[SEALED])))

    def _bound(self, what: bytes) -> bytes:
        return b"\0".join((_PURPOSE, self._landing, what))


def _sealed(headers: bytes | None) -> bytes | None:
    if headers is None or not headers.startswith(SEALED_HEAD):
        return None
    [[_, value]] = json.loads(headers)
    return base64.b64decode(value)


def _name(secret: bytes) -> bytes:
    return hmac.digest(secret, _PURPOSE, "sha256")[:_NAME]


def _cipher(secret: bytes) -> AESGCM:
    made = derived(secret, _PURPOSE, 32, "a landing is encrypted")
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(made)
