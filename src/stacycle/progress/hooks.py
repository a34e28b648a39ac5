"""What a user has a run do at its end: `onsuccess` and `onerror` of the config, a command or a URL.

Values are filled into a command quoted (text, for a shell) or as whole words (a list, without one), so that no name of
a folder or sentence of a program can become a command. A hook that fails is a warning: the run is as it was.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence

from stacycle.errors import UserError

LONGEST = 30.0  # s that a hook may take
_PLACE = re.compile(r"\{(\w+)\}")


def run(hook: str | Sequence[str] | None, facts: Mapping[str, str]) -> str:
    """Run a hook with these facts, which it also gets as STACYCLE_... in its environment (a URL as JSON). Returns why
    it failed, in a sentence; "" if it did not."""
    if not hook:
        return ""
    if isinstance(hook, str) and re.match(r"https?://", hook):
        return _post(hook, facts)
    try:
        command = _filled(hook, facts)
        named = {f"STACYCLE_{name.upper()}": value for name, value in facts.items()}
        done = subprocess.run(
            command,
            shell=isinstance(command, str),
            env={**os.environ, **named},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
    except UserError as error:
        return str(error)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{hook}: {getattr(error, 'strerror', None) or f'took more than {LONGEST:.0f} s'}."
    if done.returncode:
        said = " ".join(done.stderr.split())[-200:]
        return f"{hook}: ended with exit status {done.returncode}" + (f" ({said})." if said else ".")
    return ""


def _filled(hook: str | Sequence[str], facts: Mapping[str, str]) -> str | list[str]:
    """The command with facts in place of {NAME}: quoted for a shell, if it is text. UserError for an unknown name."""

    def put(text: str, quoted: bool) -> str:
        def value(found: re.Match[str]) -> str:
            if found[1] not in facts:
                raise UserError(f"{found[0]} is not known in a hook", f"known are {', '.join(facts)}")
            return shlex.quote(facts[found[1]]) if quoted else facts[found[1]]

        return _PLACE.sub(value, text)

    return put(hook, True) if isinstance(hook, str) else [put(word, False) for word in hook]


def _post(url: str, facts: Mapping[str, str]) -> str:
    """Send the facts as JSON. Slack, Mattermost and others show what is under `text`."""
    body = json.dumps({"text": facts.get("message", ""), **facts}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=LONGEST / 3):
            return ""
    except (OSError, ValueError) as error:
        return f"{url}: {getattr(error, 'reason', None) or error}."
