"""What usually helps against what a system says: the doctor's table, and that of the docs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cure:
    """A failure, as it is met.

    Args:
        symptom: What is wrong, in a few words.
        words: What the message holds, in any case of letters; one of these is enough.
        cure: What to do.
    """

    symptom: str
    words: tuple[str, ...]
    cure: str


CURES = (
    Cure(
        "the server does not run, or another port is meant",
        ("connection refused", "errno 111"),
        "start the server (`penstock services up` starts one on this machine), or correct host "
        "and port in penstock.toml",
    ),
    Cure(
        "there is no such host",
        ("failed to resolve", "name or service not known", "nodename nor servname"),
        "correct the host in penstock.toml; from inside a container, `localhost` is the container",
    ),
    Cure(
        "the host does not answer",
        ("timeout expired", "timed out", "no route to host", "network is unreachable"),
        "look at firewall, VPN and security groups; `nc -vz HOST PORT` must succeed from here",
    ),
    Cure(
        "the password or user is wrong",
        ("password authentication failed", "authentication failed", "no password supplied"),
        "correct user and password in the URL or in the variables that it names; a password with "
        "special characters needs no escaping when it comes from a variable",
    ),
    Cure(
        "there is no such database or role",
        ('" does not exist',),
        "create it: `createdb NAME`, `createuser NAME`; Penstock creates schemas and tables only",
    ),
    Cure(
        "the broker sends clients to an address that they cannot reach",
        ("advertised.listeners",),
        "set the broker's `advertised.listeners` to a name that this machine, and every executor, "
        "can resolve and reach",
    ),
    Cure(
        "PostgreSQL does not write what logical replication needs",
        ("wal_level",),
        "`ALTER SYSTEM SET wal_level = logical`, and restart that PostgreSQL",
    ),
    Cure(
        "the certificate cannot be trusted",
        ("certificate verify failed", "certificate_verify_failed", "self-signed certificate"),
        "name the authority's certificate in the URL (`sslrootcert=` for PostgreSQL, `ca=` for "
        "the others); renew one that has expired",
    ),
    Cure(
        "the disk is full, or nearly",
        ("no space left", "disk is nearly full", "could not extend file"),
        "make room; `retention=` of landings and topics bounds what is kept",
    ),
    Cure(
        "the folder of the embedded PostgreSQL cannot be written",
        ("permission denied", "not a directory", "cannot be used", "read-only file system"),
        "give the folder to the user that runs this, or set PENSTOCK_DATA to another one",
    ),
    Cure(
        "a port is taken",
        ("is taken by", "address already in use"),
        "stop what holds it, or set `port` under [services.NAME] in penstock.toml",
    ),
    Cure(
        "there is no Java, or the wrong one",
        ("no java",),
        "`pip install 'penstock[services]'` brings one for Kafka, Cassandra and the registry; "
        "Spark needs a Java 17 or 21 of the system's: `apt-get install openjdk-17-jre-headless`",
    ),
    Cure(
        "an extra is missing",
        ("pip install 'penstock[",),
        "install it where this command runs; a cluster's executors need it, too",
    ),
    Cure(
        "executors have another Python or other libraries",
        ("another python", "the driver has"),
        "set `python` under [profiles.NAME.spark], or ship a packed environment",
    ),
    Cure(
        "clocks differ",
        ("clock is",),
        "run chrony or systemd-timesyncd on both machines; rows are right all the same, only "
        "latencies look wrong",
    ),
    Cure(
        "what answers is no schema registry",
        ("answers 200", "answers 404", "answers 405"),
        "the URL ends in /apis/ccompat/v7 for Apicurio, and in nothing for Confluent's",
    ),
    Cure(
        "the log was made anew, restored or truncated",
        ("--accept-log",),
        "find out why before you accept: `penstock run PROGRAM --accept-log` starts at its "
        "beginning",
    ),
    Cure(
        "a contract changed in a way that breaks readers",
        ("cannot become", "(read by"),
        "change it back, or give the new form another name",
    ),
    Cure(
        "somebody else runs the pipeline",
        ("would stand by", "held by"),
        "stop it, or `--take-over`: the other one is fenced and ends without writing",
    ),
    Cure(
        "S3 has no such bucket, or does not let you in",
        ("nosuchbucket", "accessdenied", "access denied", "invalidaccesskeyid"),
        "create the bucket; set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    ),
)
"""Looked through from the top."""


def cure(message: str) -> str:
    """Find what usually helps; empty when nothing is known."""
    said = message.lower()
    return next((c.cure for c in CURES if any(word in said for word in c.words)), "")
