"""A Python that starts at once, for tests that start it hundreds of times.

A server has imported what Snakemake, the scripts of rules, the embedded engine and the stand-in for RELION import, and
forks for each start. `python`, a client that imports nothing, hands it its arguments, folder, environment and streams;
it passes signals on, and ends as the forked process does. If the client is killed, so is that process.

Not for tests of how long a start takes, of process groups, or of what happens when a job is killed.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import marshal
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[1]
# What most of the starts import, directly or not.
IMPORTED = (
    *("snakemake.cli", "snakemake.script", "smart_open", "snakemake_executor_plugin_stacycle_slurm"),
    *("scipy.fft", "scipy.ndimage", "scipy.optimize", "matplotlib.pyplot", "starfile", "fake_relion"),
    *(f"{path.parent.name}.{path.stem}" for path in sorted((ROOT / "src").glob("sta*/[!_]*.py"))),
)
CLIENT = """#!{python} -IS
import marshal, os, sys
import _signal, _socket

server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect({address!r})
asked = marshal.dumps((sys.argv[1:], os.getcwd(), dict(os.environ)))
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
server.sendmsg([len(asked).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
server.sendall(asked)
for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2):
    if _signal.getsignal(number) != _signal.SIG_IGN:
        _signal.signal(number, lambda number, _: server.send(bytes([number])))
status, killed_by = server.recv(2) or (1, 0)
if killed_by:
    if killed_by != _signal.SIGKILL:
        _signal.signal(killed_by, _signal.SIG_DFL)
    os.kill(os.getpid(), killed_by)
os._exit(status)
"""


@cache
def python() -> str:
    """The client's path. The server is started when this is asked first, and ends with the process that asked."""
    folder = Path(tempfile.mkdtemp(prefix="warm"))
    client, address = folder / "python", folder / "socket"
    client.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    client.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, address, client],
        stdin=subprocess.PIPE,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "MPLBACKEND": "agg"},
        start_new_session=True,
    )
    atexit.register(server.communicate)
    while not address.exists():
        assert server.poll() is None, "the warm Python does not start"
        time.sleep(0.02)
    return str(client)


def serve(address: Path, client: str) -> None:
    """Fork for each client, until standard input is closed."""
    sys.path[:1] = found_here = [str(ROOT / "tests"), str(ROOT / "tests/workflow")]
    for module in IMPORTED:
        importlib.import_module(module)
    del sys.path[: len(found_here)]
    sys.modules["snakemake.cli"].get_argument_parser()  # imports plugins
    assert threading.active_count() == 1, "only one thread would be there after a fork"
    gc.disable()  # memory that is not looked at stays shared
    gc.freeze()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{address}.new")
    listening.listen(64)
    os.rename(f"{address}.new", address)
    ready = selectors.DefaultSelector()
    ready.register(sys.stdin, selectors.EVENT_READ)
    ready.register(listening, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is sys.stdin:
                return shutil.rmtree(address.parent)
            if key.fileobj is listening:
                connection, _ = listening.accept()
                if pid := _start(connection, client):
                    running = (pid, os.pidfd_open(pid), connection)
                    for file in running[1:]:
                        ready.register(file, selectors.EVENT_READ, running)
                continue
            pid, ended, connection = key.data
            if key.fileobj == ended:
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with suppress(OSError):  # the client was killed
                    connection.send(bytes([max(code, 0), max(-code, 0)]))
                for file in (ended, connection):
                    with suppress(KeyError):
                        ready.unregister(file)
                os.close(ended)
                connection.close()
            elif connection.fileno() >= 0:
                signals = connection.recv(64)
                if not signals:
                    ready.unregister(connection)
                for number in signals or [signal.SIGKILL]:
                    signal.pidfd_send_signal(ended, number)


def _start(connection: socket.socket, client: str) -> int | None:
    """Fork for a client; the process's number, or None if the client has gone."""
    length, streams, _, _ = socket.recv_fds(connection, 8, 3)
    asked = b""
    while len(asked) < int.from_bytes(length, "big"):
        asked += connection.recv(1 << 20)
    if not asked:
        connection.close()
        return None
    if (pid := os.fork()) == 0:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, 1024)  # the server's; what owns them here never ends
        _run(client, *marshal.loads(asked))
    for stream in streams:
        os.close(stream)
    return pid


def _run(client: str, argv: list[str], folder: str, environment: dict[str, str]) -> NoReturn:
    """What Python does with its arguments: `-m MODULE`, `-c CODE` or a file; then end."""
    gc.enable()
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.executable = client
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    first, *others = argv
    at = [path for path in environment.get("PYTHONPATH", "").split(":") if path]
    status = 0
    try:
        try:
            if first in ("-m", "-c"):
                sys.path[:0], sys.argv = ["", *at], [first, *others[1:]]
            else:
                sys.path[:0], sys.argv = [str(Path(first).parent), *at], argv
            if first == "-m":
                runpy.run_module(others[0], run_name="__main__", alter_sys=True)
            elif first == "-c":
                exec(others[0], {"__name__": "__main__"})
            else:
                runpy.run_path(first, run_name="__main__")
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        except SystemExit as ended:
            if isinstance(ended.code, str):
                print(ended.code, file=sys.stderr)
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            traceback.print_exc()
            status = 1
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as Python does at its end
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status & 255)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
