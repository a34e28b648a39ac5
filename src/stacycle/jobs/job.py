"""A job: one program run in its own folder, watched line by line, and looked at when it has ended.

RELION exits 0 on many faults and writes progress bars that fill a log with carriage returns; so a job's log holds
clean lines, the terminal sees one line per iteration or tomogram, and what should have been made is looked for.
"""

from __future__ import annotations

import ctypes
import math
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from stacycle import __version__
from stacycle.checks import verify
from stacycle.diagnosis import explain
from stacycle.errors import ProgramFailed, UserError, some
from stacycle.files.atomic import read_json, write_json
from stacycle.files.safe_names import is_shell_safe
from stacycle.jobs import fingerprint, history, outputs, resume
from stacycle.programs import relion, software
from stacycle.programs.command import Command
from stacycle.programs.software import resolve
from stacycle.provenance import lineage
from stacycle.resources.gpus import Held, hold
from stacycle.resources.lock import Lock, held

JOB_FILE = history.RECORD
OUTPUT_FILE = "run.out"  # all that the program said; Snakemake deletes a job's log when it starts it again
POLL = 0.05  # s
GRACE = 20.0  # s for a program to end when it is asked to, before it is killed; SLURM allows 30
ORPHANS_GRACE = 3.0  # s for the ranks of an mpirun that was killed to end; Open MPI's take about 1
RETRIES = {
    "continue": "It is tried once more, from where it stood.",
    "combine_via_disc": "It is tried once more, without --dont_combine_weights_via_disc.",
    "fewer_threads": "It is tried once more, with half the threads.",
}
# RELION redraws its bars ("  3/  8 sec ....~~(,_,">o]", tail "yum!") with carriage returns.
PROGRESS_BAR = re.compile(r"^\s*[\d.?]+\s*/\s*[\d.?]+ (sec|min|hrs?)\b.*~~\(")
# Not that --angpix was left out: the pixel size of the header is what is meant.
WARNING = re.compile(r"\s*(WARNING|!)(?!.*--angpix)")
LAST_LINES = 30
# Where Snakemake points TMPDIR for its jobs if it was not set: often small, so no place for all particles.
SYSTEM_TEMPORARY = ("/tmp", "/var/tmp", "/usr/tmp")


class Say:
    """Speaks to the log file, and to the terminal in one line that names the job."""

    def __init__(self, log: IO[str], name: str) -> None:
        self._log, self.name = log, name

    def log(self, text: str) -> None:
        """To the log alone."""
        print(text, file=self._log, flush=True)

    def __call__(self, text: str) -> None:
        """To the log and to the terminal."""
        self.log(text)
        for line in text.splitlines():
            print(f"[{self.name}] {line}", file=sys.stderr, flush=True)


@contextmanager
def task(log: str, name: str) -> Iterator[Say]:
    """One script's work: opens its log; a UserError becomes one sentence and exit status 1, no traceback."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as stream:
        say = Say(stream, name)
        try:
            yield say
        except UserError as error:
            say(f"ERROR: {error}")
            raise SystemExit(1) from None
        except OSError as error:  # a full disk, a file server that is gone, a folder that may not be written
            say.log(traceback.format_exc())
            say(f"ERROR: {error.filename or name}: {error.strerror or error}; mend that, then start again.")
            raise SystemExit(1) from None


def run(
    argv: Sequence[str],
    folder: str | Path,
    *,
    engine: dict[str, Any],
    makes: Sequence[str | Path],
    say: Say,
    gpus: int = 0,
) -> None:
    """Run a program, given by RELION's command line, whose output goes to `folder`; or what of it is left to do.

    A result that is there and would be the same is kept; a run that was cut off goes on; else what an earlier run left
    is moved aside (`resume.plan`). `engine` is the config's section that says where RELION's programs are. `makes` are
    the files that must be there, and not empty, when the program has ended well. While it runs it has `gpus` GPUs.
    Raises UserError if the program cannot be found, still runs, or its input is unfit; ProgramFailed if it fails or
    leaves any of the files out.
    """
    folder, command = Path(folder), Command.of(argv)
    resolve(engine, argv)  # UserError before anything is touched
    lineage.check(command)
    with held(folder, shlex.join(argv)) as lock, _stop_requests() as stop:
        if lock.fd is None:
            say(f"{folder}: this file system has no locks; take care that no two runs work here at once.")
        _Job(command, folder, engine, makes, say, gpus, lock, stop).run()


@dataclass
class _Job:
    """One program and its folder, while the lock of the folder is held."""

    command: Command
    folder: Path
    engine: dict[str, Any]
    makes: Sequence[str | Path]
    say: Say
    gpus: int
    lock: Lock
    stop: list[int]
    record: dict[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        history.mend(self.folder)
        self.record = read_record(self.folder)
        version = software.version(self.engine)
        digests = fingerprint.Digests(self.record.get("digests"))
        prints = self._fingerprint(digests, version)
        plan = self._plan(prints)
        if plan.earlier is not None:
            self._move_aside(plan)
            history.take_back(self.folder, plan.earlier)
            self.say(f"what was made when all was as it is now is taken back from {plan.earlier}")
            self.record = read_record(self.folder)
            plan = self._plan(prints)
        if plan.action == "keep":
            plan = self._keep(plan, digests, version)
        if plan.action == "keep":
            return
        verify.before(self.command)  # not of what is kept: its input may have been tidied away since
        if plan.aside:
            self._move_aside(plan)
        elif plan.why:
            self.say(f"{plan.why}.")
        elif plan.action == "continue" and self.record.get("ended_well"):
            outputs.put_back(self.folder, self.record)
            self.say(f"what was finished here stays in {history.copy_aside(self.folder)}")
        self.record |= {
            "command": shlex.join(self.command.argv),
            "engine": self.engine["kind"],
            "relion": software.version_and_commit(version),
            "stacycle": __version__,
            "makes": [os.path.relpath(path, self.folder) for path in self.makes],
            "fingerprint": prints,
            "digests_of": fingerprint.CONTENT,
            "digests": digests.known,
            "ended_well": False,
        }
        for key in ("cause", "made", "beside", "stacks", resume.REDO):
            self.record.pop(key, None)
        shutil.rmtree(self.folder / outputs.LINKS, ignore_errors=True)
        retry = None
        while retry := self._start(plan, retry):
            self.command = relaxed(self.command, retry)
            plan = self._plan(prints)

    def _fingerprint(self, digests: fingerprint.Digests, version: str) -> fingerprint.Fingerprint:
        return fingerprint.take(self.command, self.folder, self.engine["kind"], digests, version)

    def _plan(self, prints: fingerprint.Fingerprint) -> resume.Plan:
        """What to do. A finished result whose fingerprint is an earlier version's is compared in that version's way."""
        if self.record.get("ended_well") and self.record.get("digests_of") != fingerprint.CONTENT:
            by_bytes = fingerprint.Digests(by_bytes=True)
            before = self._fingerprint(by_bytes, prints["version"])
            if not fingerprint.changes(self.record.get("fingerprint", {}), before):
                prints = before
        versions = self.engine.get("new_version") == "redo"
        return resume.plan(self.command, self.folder, self.record, prints, self.makes, versions)

    def _keep(self, plan: resume.Plan, digests: fingerprint.Digests, version: str) -> resume.Plan:
        """Put back what is kept, and say so. If it is not the state that was recorded, the plan to run it anew."""
        outputs.put_back(self.folder, self.record, as_new=True)
        if faults := lineage.altered(self.folder):
            why = f"{some(faults, 3)} {'is' if len(faults) == 1 else 'are'} not what was recorded"
            return resume.Plan("fresh", self.command.argv, why, aside=history.PREVIOUS)
        if not (self.folder / lineage.STATE_FILE).exists():
            self._record_lineage()
        self.say(f"{plan.why}: kept; `stacycle redo {self.folder}` makes it anew.")
        if fingerprint.other_version(self.record["fingerprint"], {"version": version}):
            self.say(
                f"WARNING: it was made by version {self.record['fingerprint']['version']}, and {version} is here now; "
                "set engine.new_version to redo to have such results made anew."
            )
        self.record["digests"] = digests.known
        self._write()
        return plan

    def _move_aside(self, plan: resume.Plan) -> None:
        assert plan.aside is not None
        outputs.put_back(self.folder, self.record)
        aside = history.move_aside(self.folder, plan.aside, spare=plan.earlier)
        self.say(f"{plan.why}: what was here is now in {aside}")
        self.record = {}

    def _start(self, plan: resume.Plan, retry: str | None) -> str | None:
        """Run the program once. Returns how it is to be tried again, if it failed in a way that this may cure.

        Raises ProgramFailed if it failed otherwise, or for the second time.
        """
        for path in plan.remove:
            path.unlink(missing_ok=True)
        if plan.start is not None:
            what = f"iteration {plan.start}" if isinstance(plan.start, int) else plan.start
            self.say(f"goes on from {what}")
        executed = resolve(self.engine, plan.argv)
        with hold(self.gpus, self.say, self._heed_stop) as gpus:
            run = {"started": _now(), "host": socket.gethostname(), **self._given(gpus)}
            run |= {"continued_from": plan.start, "retry": retry}
            self.record |= {"executed": executed, "runs": [*self.record.get("runs", []), run]}
            self.say.log(f"$ {shlex.join(plan.argv)}")
            status, lines = self._watch(executed, run, gpus)
        run |= {"ended": _now(), "exit_status": status}
        try:
            if status != 0:
                self._heed_stop()
                diagnosis = explain.explain(self.command.program, status, lines)
                if diagnosis.retry and not retry:
                    run["cause"] = diagnosis.cause
                    self.say(f"{self.command.program} failed: {diagnosis} {RETRIES[diagnosis.retry]}")
                    return diagnosis.retry
                how = f"was ended by signal {-status}" if status < 0 else f"failed with exit status {status}"
                # what came from outside says nothing of a variant's settings
                kind = UserError if diagnosis.kind == "outside" else ProgramFailed
                raise kind(f"{self.command.program} {how}: {diagnosis}")
            verify.after(self.command, self.makes, lines)
            self._record_lineage()
            self.record |= {"ended_well": True, **outputs.remember(self.folder, self.makes)}
            return None
        except UserError as error:
            self.record["cause"] = run["cause"] = str(error)
            raise
        finally:
            self._write()

    def _given(self, gpus: Held) -> dict[str, Any]:
        """What the program computes on, as it is recorded; the log says it too."""
        given = {
            "gpus": gpus.ids,
            "ranks": self.command.ranks,
            "threads": int(self.command.get("--j") or 1),
            "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        }
        on = [f"GPU {','.join(gpus.ids)}"] if gpus.ids else []
        on += [f"{given['ranks']} MPI ranks"] if self.command.ranks > 1 else []
        on += [f"{given['threads']} threads", f"{given['cores']} cores"]
        self.say.log(f"# on {socket.gethostname()}: {'; '.join(on)}")
        return given

    def _watch(self, executed: list[str], run: dict[str, Any], gpus: Held) -> tuple[int, list[str]]:
        """Run a command to its end; its output goes to `run.out`, clean lines to the log, milestones to the terminal.

        It ends if this process is killed, and it holds the lock and the GPUs as long as it lives.
        Returns the exit status and the clean lines.
        """
        lines: list[str] = []
        locks = [self.lock, *gpus.locks]
        with open(self.folder / OUTPUT_FILE, "ab") as output, open(self.folder / OUTPUT_FILE, "rb") as seen:
            output.write(f"# {run['started']} $ {shlex.join(executed)}\n".encode())
            output.flush()
            seen.seek(0, os.SEEK_END)
            self._write()
            self._heed_stop()
            mine, runner = _children(), os.getpid()
            _adopt_orphans(True)
            process = subprocess.Popen(
                executed,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | relion.mpi_settings(self.command.launcher) | gpus.environment,
                pass_fds=[lock.fd for lock in locks if lock.fd is not None],
                preexec_fn=lambda: _end_with_runner(runner),
            )
            try:
                run["pid"] = process.pid
                for lock in locks:
                    lock.tell(program=process.pid)
                self._write()
                for line in clean_lines(_follow(seen, process, self.stop)):
                    lines.append(line)
                    if text := milestone(line):
                        print(f"[{self.say.name}] {text}", file=sys.stderr, flush=True)
                    self.say.log(line)
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
                if process.returncode:
                    _end_orphans(mine)
                _adopt_orphans(False)
        return process.returncode, lines

    def _record_lineage(self) -> None:
        for note in lineage.record(self.command, self.folder):
            self.say(note)

    def _write(self) -> None:
        write_json(self.folder / JOB_FILE, self.record, durable=True)

    def _heed_stop(self) -> None:
        """UserError if this process was asked to end."""
        if self.stop:
            raise UserError(
                (
                    f"{self.command.program} was stopped ({signal.Signals(self.stop[0]).name}), perhaps at a time "
                    "limit"
                ),
                "what is done is kept: run Snakemake again to go on from there",
            )


@contextmanager
def may_fail(
    folder: str | Path, makes: Sequence[str | Path], say: Say, allowed: bool = True
) -> Iterator[None]:
    """One variant of a sweep, if `allowed`: should its program fail, the sweep goes on without it.

    The cause is kept in the job's record (`failure`), and what should have been made becomes empty files, which no
    program takes for results. A mistake of the user's, which all variants would share, is still an error.
    """
    try:
        yield
    except ProgramFailed as error:
        if not allowed:
            raise
        record = read_record(folder) | {"ended_well": False, "cause": str(error)}
        write_json(Path(folder) / JOB_FILE, record, durable=True)
        for path in makes:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).unlink(missing_ok=True)  # it may be a hard link
            Path(path).touch()
        say(
            f"FAILED: {error} The sweep goes on without this variant (`stacycle redo {makes[0]}` tries it again)."
        )


def need(paths: Sequence[str | Path]) -> None:
    """ProgramFailed, with the cause, if one of the files is what a failed variant left (see `may_fail`)."""
    for path in map(Path, paths):
        if path.exists() and path.stat().st_size == 0:
            raise ProgramFailed(
                failure(path.parent) or f"{path} is empty; delete it and run Snakemake again."
            )


def failure(folder: str | Path) -> str:
    """Why a variant's program failed in `folder` (see `may_fail`); empty if it did not."""
    return read_record(folder).get("cause", "")


def read_record(folder: str | Path) -> dict[str, Any]:
    """The record of the job in `folder`; empty if there is none, or it is damaged."""
    return read_json(Path(folder) / JOB_FILE)


def versions(results: str | Path) -> list[str]:
    """The versions of the programs that made the results of a project: `5.0.1, commit 73f0a3`."""
    told = (
        read_record(path.parent).get("relion") or {}
        for path in Path(results).rglob(JOB_FILE)
        if not history.is_aside(path)
    )
    found = (filter(None, (one.get("version"), one.get("commit"))) for one in told)
    return sorted({", commit ".join(one) for one in found} - {""})


def audit(results: str | Path) -> list[tuple[str, str]]:
    """The files of a project's results that are not what a program made: each one's path, and a sentence."""
    found = []
    for path in sorted(Path(results).rglob(JOB_FILE)):
        record = {} if history.is_aside(path) else read_record(path.parent)
        if record.get("ended_well"):
            found += outputs.replaced(path.parent, record)
    return [(path, f"{path}: is not what the program made; {lineage.cure(path)}") for path in found]


def relaxed(command: Command, retry: str) -> Command:
    """The command with which a failure may be cured: "continue", "combine_via_disc" or "fewer_threads"."""
    flags = dict(command.flags)
    if retry == "combine_via_disc":
        flags.pop("--dont_combine_weights_via_disc", None)
    if retry == "fewer_threads":
        for flag in {"--j", "--j_out", "--pool"} & flags.keys():
            flags[flag] = [str(max(1, int(flags[flag][0]) // 2))]
    return replace(command, flags=flags)


def clean_lines(stream: Iterable[str]) -> Iterator[str]:
    """The lines of a program's output without its progress bars and blank lines; carriage returns end a line too."""
    for raw in stream:
        for line in raw.split("\r"):
            line = line.rstrip()
            if line and not PROGRESS_BAR.match(line):
                yield line


def milestone(line: str) -> str | None:
    """What a line of RELION's output means to someone who waits; None for the many that mean nothing."""
    if match := re.match(r"\s*Expectation iteration (\d+)(?: of (\d+))?", line):
        return f"iteration {int(match[1])}" + (f" of {match[2]}" if match[2] else "")
    if match := re.match(r"\s*CurrentResolution= (\S+) Angstroms", line):
        return f"resolution {float(match[1]):.1f} Å"
    if match := re.match(r"\s*\+ Tomogram (\d+) / (\d+)", line):
        return f"tomogram {match[1]} of {match[2]}"
    if match := re.match(
        r"\s*Auto-refine: (Refinement has converged|Angular step|\+ Final resolution)(.*)", line
    ):
        return (match[1] + match[2]).strip("+ .").lower()
    if match := re.match(r"\s*\+ FINAL RESOLUTION:\s+(\S+)", line):
        return f"final resolution {match[1]} Å"
    return line.strip() if WARNING.match(line) else None


def scratch_folder(setting: str | None) -> str | None:
    """The folder of `engine.scratch` with variables like $TMPDIR filled in; None if it is unset, empty or /tmp.

    Whoever wants all particles in /tmp says so by its name. UserError for a name that RELION's shell would misread.
    """
    folder = os.path.expandvars(setting or "")
    if not folder or "$" in folder or (folder != setting and folder.rstrip("/") in SYSTEM_TEMPORARY):
        return None
    if not is_shell_safe(folder):
        raise UserError(
            (
                f"engine.scratch: RELION would remove more than the folder {folder!r}, whose name it gives to a "
                "shell unquoted"
            ),
            "use a folder without blanks and signs in its name",
        )
    return folder


def _end_with_runner(runner: int) -> None:
    """Ask the kernel (Linux) to end this process when its parent, the runner, is gone; ends if it is already.

    Snakemake takes a job whose runner was killed for failed and removes its files; what the program wrote later would
    pass for a result that nobody has looked at.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the runner's way to take it would lose it here
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != runner:
        os._exit(1)


def _adopt_orphans(wanted: bool) -> None:
    """Tell the kernel (Linux) whether processes below this one whose parent dies become its children."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, int(wanted))  # PR_SET_CHILD_SUBREAPER


def _children() -> set[int]:
    """The processes whose parent is this one; none where the kernel does not list them."""
    with suppress(OSError):
        return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))
    return set()


def _end_orphans(mine: set[int]) -> None:
    """Wait until no children are left but `mine`; those that stay are killed.

    The ranks of an mpirun that was killed compute, and write, for a second more. They hold no lock: mpirun closes all
    files for them; so they must be gone before the locks are given back.
    """
    deadline = time.monotonic() + ORPHANS_GRACE
    while orphans := _children() - mine:
        for pid in orphans:
            with suppress(ProcessLookupError, ChildProcessError):
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        time.sleep(POLL)


def _follow(output: IO[bytes], process: subprocess.Popen, stop: list[int]) -> Iterator[str]:
    """The lines that a process writes into a file, until it has ended. It is ended if a stop is asked for."""
    rest, deadline, ended = b"", math.inf, False
    while not ended:
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
        ended = process.returncode is not None  # before the last look, so that nothing is missed
        if stop and deadline == math.inf:
            process.send_signal(stop[0])
            deadline = time.monotonic() + GRACE
        if time.monotonic() > deadline:
            process.kill()
        *lines, rest = (rest + output.read()).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
    yield rest.decode(errors="replace")


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """The signals that ask this process to end, as they come: SIGTERM and SIGINT."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came  # Python handles signals in the main thread only
        return
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
