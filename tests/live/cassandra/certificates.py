"""Certificates for the tests, and the files in which Cassandra wants them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    load_pem_private_key,
    pkcs12,
)

PASSWORD = "keystore"


@dataclass(frozen=True)
class Certificates:
    """An authority, and what it signed.

    Args:
        folder: Where the files go.
    """

    folder: Path

    def __post_init__(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.path("ca.pem")))
        trustme.CA().cert_pem.write_to_path(str(self.path("other-ca.pem")))
        past = datetime(2020, 1, 1, tzinfo=UTC)
        server = authority.issue_cert("127.0.0.1", "localhost")
        self._pair("server", server)
        self._pair("client", authority.issue_cert("penstock@example.com"))
        self._pair("expired", authority.issue_cert("127.0.0.1", not_after=past))
        self._pair("stranger", authority.issue_cert("db.example.com"))
        self._stores(server, authority)

    def path(self, name: str) -> Path:
        return self.folder / name

    def _pair(self, name: str, pair: trustme.LeafCert) -> None:
        pair.private_key_pem.write_to_path(str(self.path(f"{name}-key.pem")))
        chain = b"".join(blob.bytes() for blob in pair.cert_chain_pems)
        self.path(f"{name}.pem").write_bytes(chain)

    def _stores(self, server: trustme.LeafCert, authority: trustme.CA) -> None:
        secret = BestAvailableEncryption(PASSWORD.encode())
        key = load_pem_private_key(server.private_key_pem.bytes(), None)
        chain = [x509.load_pem_x509_certificate(blob.bytes()) for blob in server.cert_chain_pems]
        keys = pkcs12.serialize_key_and_certificates(
            b"server",
            key,  # type: ignore[arg-type]
            chain[0],
            chain[1:],
            secret,
        )
        self.path("keystore.p12").write_bytes(keys)
        trusted = pkcs12.PKCS12Certificate(
            x509.load_pem_x509_certificate(authority.cert_pem.bytes()), b"ca"
        )
        store = pkcs12.serialize_java_truststore([trusted], secret)
        self.path("truststore.p12").write_bytes(store)
