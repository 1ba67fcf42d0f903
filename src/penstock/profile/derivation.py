"""Keys of ciphers, derived from secret texts of any length by HKDF-SHA-256 (RFC 5869)."""

from __future__ import annotations

from penstock.errors import ProfileError


def derived(secret: bytes, purpose: bytes, length: int, need: str) -> bytes:
    """Derive a key.

    Args:
        secret: The text that a user keeps.
        purpose: What it is for: the same text gives other keys for other purposes.
        length: Of the key, in bytes.
        need: What asks for it, for the message: `a landing is encrypted`.

    Raises:
        ProfileError: The library that encrypts is not installed.
    """
    try:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError as error:
        raise ProfileError(
            f"{need}, for which the package cryptography is needed; install penstock[encryption]"
        ) from error
    return HKDF(SHA256(), length=length, salt=None, info=purpose).derive(secret)
