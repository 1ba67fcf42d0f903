"""A driver in a process of its own: starts Spark, says so, and does as it is told."""

from __future__ import annotations

import sys
from pathlib import Path

from penstock.engines.spark.session import Cluster
from penstock.profile import Profile


def main(engine: str, folder: str) -> None:
    profile = Profile("cluster", home="embedded:", log="kafka://127.0.0.1:1", engine=engine)
    try:
        with Cluster(profile, "trial", None, Path(folder)) as cluster:
            print(cluster.session.range(5).count(), flush=True)
            sys.stdin.readline()
    except KeyboardInterrupt:
        print("interrupted", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
