"""A warm Python (tests/warm.py) starts, fails and dies as a common one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm

SLEEP = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


@pytest.mark.parametrize(
    "code",
    [
        "print('found', flush=True); import sys; sys.exit(3)",
        "import sys; sys.exit('no good')",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import os, sys; print(os.getcwd(), os.environ['WORD'], sys.path[0], sys.argv, sys.stdin.read())",
        "import threading, time; threading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start()",
    ],
)
def test_what_it_is_given_and_what_it_leaves_are_those_of_a_common_python(code: str, tmp_path: Path) -> None:
    def of(python: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [python, "-c", code, "word"],
            cwd=tmp_path,
            env=os.environ | {"WORD": "a b"},
            input="said",
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    assert of(warm.python()) == of(sys.executable)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_what_runs(number: signal.Signals) -> None:
    with subprocess.Popen(
        [warm.python(), "-c", SLEEP], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as client:
        assert client.stdout is not None
        running = Path("/proc") / client.stdout.readline().strip()
        assert running.exists()
        client.send_signal(number)
        assert client.wait(30) == -number
    deadline = time.monotonic() + 30
    while running.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running.exists()


def test_the_start_alone_is_warm_if_a_session_is_asked_for(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getsid(0), sys.executable)"
    done = subprocess.run(
        [warm.python(), "-c", code],
        env=os.environ | {"WARM_SESSION": str(tmp_path / "session")},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [(tmp_path / "session").read_text(), sys.executable]
