"""Leases of real processes that are killed or stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from penstock.errors import Fenced
from penstock.home import leases
from penstock.home.database import Home
from penstock.home.leases import Claimant

HOLDER = """
import sys
from penstock.home import leases
from penstock.home.database import Home
home = Home(sys.argv[1])
home.open()
with home.transaction() as cursor:
    leases.acquire(cursor, leases.Claimant("users", "clicks", "child", "there", 7), [0], 600)
if sys.argv[2] == "inside":
    cursor.connection.execute("BEGIN")
    cursor.connection.execute("SELECT FROM penstock.leases FOR UPDATE")
print("held", flush=True)
sys.stdin.read()
"""

ME = Claimant("users", "clicks", "me", "here", 1)


@contextmanager
def holder(database: str, where: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, database, where]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout
            assert child.stdout.readline() == "held\n"
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("where", ["between", "inside"])
def test_a_killed_process_frees_its_leases_at_once(home: Home, database: str, where: str) -> None:
    with holder(database, where) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
        give_up = time.monotonic() + 10
        taken: dict[int, int] = {}
        while not taken and time.monotonic() < give_up:
            with home.transaction() as cursor:
                taken = leases.acquire(cursor, ME, [0], 60)
        assert set(taken) == {0}


@pytest.mark.parametrize("where", ["between", "inside"])
def test_a_stopped_process_holds_on_until_it_is_taken_over(
    home: Home, database: str, where: str
) -> None:
    with holder(database, where) as child:
        os.kill(child.pid, signal.SIGSTOP)
        with home.transaction() as cursor:
            assert leases.acquire(cursor, ME, [0], 60) == {}
            assert [one.owner for one in leases.holders(cursor, "users")] == ["child"]
            assert set(leases.take_over(cursor, ME, [0], 60)) == {0}
            with pytest.raises(Fenced):
                leases.check(cursor, "users", "clicks", {0: 1})
        os.kill(child.pid, signal.SIGCONT)
