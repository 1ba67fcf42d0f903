"""A real broker that asks for passwords and certificates, and the certificates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import trustme
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives import serialization
from tests.stack.servers import Servers, free_ports

USER, PASSWORD = "ann", "p@ss:w/rd?&"
READER, NOBODY = "reader", "nobody"
"""Users who may only read topics, and may do nothing; their passwords are their names."""
CLIENT = "penstock"
"""Whom the client's certificate names."""
LISTENERS = ("SASL_PLAINTEXT", "SASL_SSL", "SSL", "EXPIRED")
_MODULE = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Secured:
    """The broker's listeners, and the files of its clients.

    Args:
        plain: Its URL without any security, for the tests' own business.
        ports: Of the secured listeners.
        files: `ca`, `other` (a CA that signed nothing), `cert` and `key`, `old-cert` and `old-key`.
    """

    plain: str
    ports: Mapping[str, int]
    files: Mapping[str, Path]

    def url(
        self, listener: str, options: Mapping[str, str], login: tuple[str, str] | None = None
    ) -> str:
        user = f"{quote(login[0])}:{quote(login[1], safe='')}@" if login else ""
        query = "&".join(f"{name}={quote(value)}" for name, value in options.items())
        return f"kafka://{user}127.0.0.1:{self.ports[listener]}" + (query and f"?{query}")

    def named(self, options: Mapping[str, str]) -> dict[str, str]:
        """Put the paths of files in the place of their names."""
        return {n: str(self.files.get(value, value)) for n, value in options.items()}


def started(servers: Servers, folder: Path) -> Secured:
    """Start the broker."""
    ca = trustme.CA()
    files = {name: folder / f"{name}.pem" for name in ("ca", "other")}
    ca.cert_pem.write_to_path(files["ca"])
    trustme.CA().cert_pem.write_to_path(files["other"])
    past = datetime.now(UTC) - timedelta(days=1)
    for prefix, cert in {
        "": ca.issue_cert("client@example.org", common_name=CLIENT),
        "old-": ca.issue_cert(
            "client@example.org", not_before=past - timedelta(days=9), not_after=past
        ),
    }.items():
        files |= {f"{prefix}{kind}": folder / f"{prefix}{kind}.pem" for kind in ("cert", "key")}
        cert.cert_chain_pems[0].write_to_path(files[f"{prefix}cert"])
        cert.private_key_pem.write_to_path(files[f"{prefix}key"])
    fresh = _keystore(folder / "broker.pem", ca.issue_cert("127.0.0.1"))
    expired = _keystore(
        folder / "expired.pem",
        ca.issue_cert("127.0.0.1", not_before=past - timedelta(days=9), not_after=past),
    )
    port, internal, *others = free_ports(2 + len(LISTENERS))
    ports = dict(zip(LISTENERS, others, strict=True))
    server = servers.start(
        "kafka",
        port=port,
        internal_port=internal,
        settings=_settings(port, internal, ports, {"fresh": fresh, "old": expired} | files),
    )
    _add_scram_users(server.url)
    _let_read(server.url)
    return Secured(server.url, {**ports, "PLAIN": port}, files)


def _settings(
    port: int, internal: int, ports: Mapping[str, int], files: Mapping[str, Path]
) -> dict[str, str]:
    listeners = {"PLAINTEXT": port, "CONTROLLER": internal, **ports}
    protocols = {name: name for name in listeners} | {"CONTROLLER": "PLAINTEXT", "EXPIRED": "SSL"}
    settings = {
        "listeners": ",".join(f"{n}://127.0.0.1:{p}" for n, p in listeners.items()),
        "listener.security.protocol.map": ",".join(f"{n}:{p}" for n, p in protocols.items()),
        "inter.broker.listener.name": "PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.ssl.ssl.client.auth": "required",
        "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:ANONYMOUS;User:{USER};User:{CLIENT}",
    }
    for listener in ("ssl", "sasl_ssl", "expired"):
        key = files["old" if listener == "expired" else "fresh"]
        settings |= {
            f"listener.name.{listener}.ssl.keystore.type": "PEM",
            f"listener.name.{listener}.ssl.keystore.location": str(key),
            f"listener.name.{listener}.ssl.truststore.type": "PEM",
            f"listener.name.{listener}.ssl.truststore.location": str(files["ca"]),
        }
    escaped = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    for listener in ("sasl_plaintext", "sasl_ssl"):
        prefix = f"listener.name.{listener}"
        settings[f"{prefix}.plain.sasl.jaas.config"] = (
            f'{_MODULE}.plain.PlainLoginModule required user_{USER}="{escaped}" '
            f'user_{READER}="{READER}" user_{NOBODY}="{NOBODY}";'
        )
        for mechanism in ("scram-sha-256", "scram-sha-512"):
            settings[f"{prefix}.{mechanism}.sasl.jaas.config"] = (
                f"{_MODULE}.scram.ScramLoginModule required;"
            )
    return settings


def _keystore(path: Path, cert: trustme.LeafCert) -> Path:
    """Write key and certificate as Java reads them."""
    key = serialization.load_pem_private_key(cert.private_key_pem.bytes(), None)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(pem + cert.cert_chain_pems[0].bytes())
    return path


def _add_scram_users(url: str) -> None:
    admin = AdminClient({"bootstrap.servers": url.removeprefix("kafka://")})
    users = [
        UserScramCredentialUpsertion(USER, ScramCredentialInfo(mechanism, 4096), PASSWORD.encode())
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)
    ]
    for one in users:
        admin.alter_user_scram_credentials([one])[USER].result(60)


def _let_read(url: str) -> None:
    admin = AdminClient({"bootstrap.servers": url.removeprefix("kafka://")})
    may = AclBinding(
        ResourceType.TOPIC,
        "t_",
        ResourcePatternType.PREFIXED,
        f"User:{READER}",
        "*",
        AclOperation.READ,
        AclPermissionType.ALLOW,
    )
    admin.create_acls([may])[may].result(60)
