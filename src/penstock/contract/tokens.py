"""Tokens: values encrypted by AES-SIV (RFC 5297), equal ones alike, which their key turns back."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from penstock.errors import Refused
from penstock.profile.derivation import derived

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

_PURPOSE = b"penstock tokenise"


def cipher(key: bytes) -> Callable[[bytes], bytes]:
    """Make what turns values into tokens.

    Args:
        key: A secret text; AES's key is derived from it by HKDF-SHA-256.

    Raises:
        ProfileError: The library that encrypts is not installed.
    """
    siv = _siv(key)
    return lambda value: siv.encrypt(value, None)


def detokenise(token: str, *keys: str) -> str:
    """Turn a token back into the value that was masked by `ps.masked("tokenise", key=...)`.

    Args:
        token: As it stands in a table or a topic.
        keys: The key, and older ones when it was changed; never from the program's text.

    Raises:
        Refused: None of the keys made this token.
        ProfileError: The library that decrypts is not installed.

    Example: `ps.detokenise(row["ssn"], os.environ["MASK_KEY"])`
    """
    from cryptography.exceptions import InvalidTag

    try:
        found = urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        found = b""
    for key in keys:
        try:
            return _siv(key.encode()).decrypt(found, None).decode()
        except (InvalidTag, ValueError):
            continue
    raise Refused(
        "this is no token of the key that was given; tokens of a key that was changed since need "
        "the old one"
    )


@lru_cache(maxsize=8)
def _siv(key: bytes) -> AESSIV:
    made = derived(key, _PURPOSE, 64, "a field is tokenised")
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    return AESSIV(made)
