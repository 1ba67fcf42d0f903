import os
import signal
import subprocess
import sys

import pytest

from penstock.cli.signals import graceful

ENDLESS = """
import os, sys
from penstock.cli.signals import graceful
with graceful(lambda: os.write(1, b"stopping\\n")):  # print is not reentrant
    print("ready", flush=True)
    while True:
        sys.stdin.readline()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_for_a_stop(number: int) -> None:
    asked: list[int] = []
    before = signal.getsignal(number)
    with graceful(lambda: asked.append(1)):
        os.kill(os.getpid(), number)
    assert asked == [1]
    assert signal.getsignal(number) == before


def test_the_second_signal_ends_the_process() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdin=-1, stdout=-1, stderr=-1, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping\n"
        assert process.stderr is not None
        assert "once more to stop at once" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 128 + signal.SIGINT
