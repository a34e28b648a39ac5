"""What a user has a run do at its end: filled in safely, and never the run's own failure."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from pathlib import Path

import pytest

from stacycle.progress import hooks

NASTY = "it's; touch owned $(touch owned2) `touch owned3` \"&& touch owned4"
FACTS = {"message": NASTY, "project": "/a b/c", "status": "failed", "page": ""}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "hook",
    [
        "printf %s {message} > told.txt",
        'printf %s "$STACYCLE_MESSAGE" > told.txt',
        [sys.executable, "-c", "import sys; open('told.txt', 'w').write(sys.argv[1])", "{message}"],
    ],
)
def test_no_value_becomes_a_command(hook: str | list[str], folder: Path) -> None:
    assert hooks.run(hook, FACTS) == ""
    assert Path("told.txt").read_text() == NASTY
    assert [path.name for path in folder.iterdir()] == ["told.txt"]


def test_a_url_gets_json() -> None:
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert hooks.run(f"http://127.0.0.1:{server.server_port}/hook", FACTS) == ""
    assert got == [{"text": NASTY, **FACTS}]


@pytest.mark.parametrize(
    ("hook", "why"),
    [
        ("echo no mailer here >&2; exit 3", "ended with exit status 3 (no mailer here)"),
        (["not-a-program"], "No such file or directory"),
        ("echo {mesage}", "{mesage} is not known in a hook; known are message, project, status, page."),
        ("http://127.0.0.1:1/hook", "refused"),
        (None, ""),
    ],
)
def test_a_hook_that_fails_is_a_sentence(hook: str | list[str] | None, why: str) -> None:
    assert why in hooks.run(hook, FACTS)


def test_a_hook_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "LONGEST", 0.2)
    assert "took more than" in hooks.run(["sleep", "5"], FACTS)
