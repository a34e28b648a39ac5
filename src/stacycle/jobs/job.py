"""A job: one program run in its own folder, watched line by line, and checked when it has ended.

RELION exits 0 on many faults and writes progress bars that fill a log with carriage returns; so a job's log holds
clean lines, the terminal sees one line per iteration or tomogram, and what should have been made is looked for.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stacycle import __version__
from stacycle.diagnosis import explain
from stacycle.errors import Interrupted, ProgramFailed, UserError, some
from stacycle.files.earlier_results import PREVIOUS
from stacycle.files.job_folder import HOW_FAR, JOB_FILE, PROGRAM_OUTPUT, STATE_FILE
from stacycle.jobs import (
    failure,
    fingerprint,
    history,
    kept_outputs,
    output,
    process,
    record,
    resume,
    share_record,
)
from stacycle.jobs.fingerprint import Digests, Fingerprint
from stacycle.jobs.how_far import InVain, Iterations, never
from stacycle.jobs.log import LOGGER, TERMINAL_ONLY
from stacycle.jobs.output import clean_lines, milestone
from stacycle.jobs.resume import Resumption
from stacycle.programs import mpi, software, verify
from stacycle.programs.command import Command
from stacycle.provenance import audit as provenance
from stacycle.provenance import origin
from stacycle.provenance import record as state_record
from stacycle.relion_project.update import keep_up, show_new_files
from stacycle.resources.gpus import GpuLease, acquire
from stacycle.resources.lock import Lock, locked

_SHOWN_EVERY = 10  # seconds between looks for new files of a program at work
FEWEST = 2  # MPI ranks of the tomography programs
RETRIES = {
    "continue": "It is tried once more, from where it stood.",
    "combine_via_disc": "It is tried once more, without --dont_combine_weights_via_disc.",
    "fewer_threads": "It is tried once more, with half the threads or ranks.",
}


def run(
    argv: Sequence[str],
    folder: str | Path,
    *,
    engine: dict[str, Any],
    expected_outputs: Sequence[str | Path],
    gpus: int = 0,
    in_vain: InVain | None = None,
    shares: Sequence[Path] = (),
    lineage: bool = True,
    ended: str = "",
) -> None:
    """Run a program, given by RELION's command line, whose output goes to `folder`; or what of it is left to do.

    A result that is there and would be the same is kept; a run that was cut off continues; else what an earlier run
    left is moved aside (`resume.examine`). `engine` is the config's section that says where RELION's programs are.
    `expected_outputs` are the files that must be there, and not empty, when the program has ended well. While it runs
    it has `gpus` GPUs. `in_vain` is asked of each iteration, of a program that can be ended before its last one
    (`how_far.Iterations`). `shares` are the folders of the jobs that did the program's work on some tomograms each, of
    which it makes one result; such a job, whose result is none by itself, has no `lineage`. A job that is `ended`
    early, for this reason, only keeps a result that is there. Raises UserError if the program cannot be found, still
    runs, or its input is unfit; ProgramFailed if it fails or leaves any of the files out; EndedEarly; Interrupted if
    this process is asked to end.
    """
    folder, command = Path(folder), Command.of(argv)
    software.resolve(engine, argv)  # UserError before anything is touched
    if lineage:
        origin.check(command)
    with locked(folder, shlex.join(argv)) as lock, process.stop_requests() as stop:
        if lock.fd is None:
            LOGGER.warning(
                "%s: this file system has no locks; take care that no two runs work here at once.", folder
            )
        iterations = Iterations(command, folder, in_vain) if in_vain else None
        _Job(
            command, folder, engine, expected_outputs, gpus, lock, stop, iterations, shares, lineage, ended
        ).run()


@dataclass
class _Job:
    """One program and its folder, while the lock of the folder is held."""

    command: Command
    folder: Path
    engine: dict[str, Any]
    expected_outputs: Sequence[str | Path]
    gpus: int
    lock: Lock
    stop: list[int]  # the signals that asked this process to end
    iterations: Iterations | None = None  # if it may be ended before the last
    shares: Sequence[Path] = ()
    lineage: bool = True
    ended: str = ""
    record: dict[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        history.mend(self.folder)
        self.record = record.read(self.folder)
        version = software.version(self.engine)
        digests = Digests(self.record.get("digests"))
        current = fingerprint.take(self.command, self.folder, self.engine["kind"], digests, version)
        found = self._examine(current)
        if found.earlier is not None:
            self._move_aside(found)
            history.take_back(self.folder, found.earlier)
            LOGGER.info("what was made when all was as it is now is taken back from %s", found.earlier)
            self.record = record.read(self.folder)
            found = self._examine(current)
        if found.action == "keep":
            found = self._keep(found, digests, version)
        if found.action == "keep":
            return
        verify.check_inputs(self.command)  # not of what is kept: its input may have been cleaned up since
        if found.aside:
            self._move_aside(found)
        elif found.why:
            LOGGER.info("%s.", found.why)
        elif found.action == "continue" and self.record.get("ended_well"):
            kept_outputs.put_back(self.folder, self.record)
            if not (resume.stopped(self.record) or self._has_ended(found)):
                LOGGER.info("what was finished here stays in %s", history.copy_aside(self.folder))
        self.record |= {
            "command": shlex.join(self.command.argv),
            "engine": self.engine["kind"],
            "relion": software.version_and_commit(version),
            "stacycle": __version__,
            "expected_outputs": [os.path.relpath(path, self.folder) for path in self.expected_outputs],
            "fingerprint": current,
            "digests": digests.known,
            "ended_well": False,
        }
        for key in ("cause", failure.ENDED, *kept_outputs.KEYS, resume.REDO):
            self.record.pop(key, None)
        shutil.rmtree(self.folder / kept_outputs.LINKS, ignore_errors=True)
        if self.ended:
            self._write()
            raise failure.EndedEarly(self.ended)
        retry = None
        while retry := self._start(self._merged(found, current), retry):
            self.command = relaxed(self.command, retry)
            found = self._examine(current)

    def _examine(self, current: Fingerprint) -> Resumption:
        before, versions = self.record, self.engine.get("new_version") == "redo"
        to_the_end = self.iterations is not None and self.iterations.in_vain is never
        expected = self.expected_outputs
        return resume.examine(self.command, self.folder, before, current, expected, versions, to_the_end)

    def _merged(self, found: Resumption, current: Fingerprint) -> Resumption:
        """How the job goes on from what its shares left; as `found` if it has none. UserError if one is not its."""
        if not self.shares:
            return found
        for share in self.shares:
            share_record.check(share, current)
        self._write()  # if it is killed from here on, it knows what lies in its folder
        for path in found.remove:
            path.unlink(missing_ok=True)
        for share in self.shares:
            (share / JOB_FILE).unlink(
                missing_ok=True
            )  # its files are taken: if it runs again, then all of it
        assert self.command.record.merge is not None
        merged = self.command.record.merge(self.command, self.folder, self.shares)
        return Resumption("continue", merged.argv, start=merged.start, remove=merged.remove)

    def _keep(self, found: Resumption, digests: Digests, version: str) -> Resumption:
        """Put back what is kept, and say so. If it is not the state that was recorded, it is to be made anew."""
        kept_outputs.put_back(self.folder, self.record, as_new=True)
        if altered := provenance.altered(self.folder):
            why = f"{some(altered, 3)} {'is' if len(altered) == 1 else 'are'} not what was recorded"
            return Resumption("fresh", self.command.argv, why, aside=PREVIOUS)
        if not (self.folder / STATE_FILE).exists():
            self._record_state()
        LOGGER.info("%s: kept; `stacycle redo %s` makes it anew.", found.why, self.folder)
        before = self.record["fingerprint"]
        if fingerprint.other_version(before, {"version": version}):
            why = f"it was made by version {before['version']}, and {version} is here now"
            LOGGER.warning("WARNING: %s; set engine.new_version to redo to have such results made anew.", why)
        self.record["digests"] = digests.known
        self._write()
        return found

    def _move_aside(self, found: Resumption) -> None:
        assert found.aside is not None
        kept_outputs.put_back(self.folder, self.record)
        aside = history.move_aside(self.folder, found.aside, spare=found.earlier)
        LOGGER.info("%s: what was here is now in %s", found.why, aside)
        self.record = {}

    def _start(self, found: Resumption, retry: str | None) -> str | None:
        """Run the program once. Returns how it is to be tried again, if it failed in a way that this may cure.
        ProgramFailed if it failed otherwise, or for the second time; Interrupted if this process was asked to end."""
        for path in found.remove:
            path.unlink(missing_ok=True)
        if self._has_ended(found):
            self._finish(found, [line for share in self.shares for line in output.last_lines(share)])
            self._write()
            return None
        if found.start is not None:
            where = f"iteration {found.start}" if isinstance(found.start, int) else found.start
            LOGGER.info("goes on from %s", where)
        executed = software.resolve(self.engine, found.argv)
        with acquire(self.gpus, LOGGER.info, self._raise_if_stopped) as gpus:
            run = {"started": _now(), "host": socket.gethostname(), **self._given(gpus)}
            run |= {"continued_from": found.start, "retry": retry}
            self.record |= {"executed": executed, "runs": [*self.record.get("runs", []), run]}
            LOGGER.debug("$ %s", shlex.join(found.argv))
            status, lines = self._watch(executed, run, gpus)
        if self.iterations and self.iterations.stop:
            status = 0  # its end was asked for
        run |= {"ended": _now(), "exit_status": status}
        try:
            if status != 0:
                self._raise_if_stopped()
                diagnosis = explain.explain(self.command.program, status, lines)
                if diagnosis.retry and not retry:
                    run["cause"] = diagnosis.cause
                    again = RETRIES[diagnosis.retry]
                    LOGGER.warning("%s failed: %s %s", self.command.program, diagnosis, again)
                    return diagnosis.retry
                how = f"was ended by signal {-status}" if status < 0 else f"failed with exit status {status}"
                # what came from outside says nothing of a variant's settings
                kind = UserError if diagnosis.kind == "outside" else ProgramFailed
                raise kind(f"{self.command.program} {how}: {diagnosis}")
            self._finish(found, lines)
            return None
        except (UserError, Interrupted) as error:
            self.record["cause"] = run["cause"] = str(error)
            raise
        finally:
            self._write()

    def _has_ended(self, found: Resumption) -> bool:
        """Whether the program has nothing left to do."""
        return not found.argv or (self.iterations is not None and self.iterations.ended(found.start))

    def _finish(self, found: Resumption, lines: list[str]) -> None:
        """Check what was made, and record it. ProgramFailed if it is not right."""
        command, made = self.command, list(self.expected_outputs)
        if self.iterations:
            made.append(self.folder / HOW_FAR)
            told = self.iterations.settle(self.record.get(resume.HOW_FAR, {}), found.start)
            self.record[resume.HOW_FAR] = told
            command = replace(command, flags=command.flags | {"--iter": [str(told["iterations"])]})
            if told["why"]:
                LOGGER.info(
                    "stopped at iteration %s of %s: %s", told["iterations"], told["limit"], told["why"]
                )
        verify.check_outputs(command, self.expected_outputs, lines)
        self._record_state()
        self.record |= {"ended_well": True, **kept_outputs.remember(self.folder, made, command.record)}

    def _given(self, gpus: GpuLease) -> dict[str, Any]:
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
        LOGGER.debug("# on %s: %s", socket.gethostname(), "; ".join(on))
        return given

    def _watch(self, executed: list[str], run: dict[str, Any], gpus: GpuLease) -> tuple[int, list[str]]:
        """Run a command to its end; its output goes to `run.out`, clean lines to the log, milestones to the terminal.
        Returns the exit status and the clean lines."""
        lines: list[str] = []
        shown = time.monotonic()
        threads = int(self.command.get("--j") or 1)
        environment = mpi.mpi_settings(self.command.launcher, threads) | gpus.environment
        path, ends = self.folder / PROGRAM_OUTPUT, [self.iterations.stop] if self.iterations else []
        with open(path, "ab") as output, open(path, "rb") as seen:
            output.write(f"# {run['started']} $ {shlex.join(executed)}\n".encode())
            output.flush()
            seen.seek(0, os.SEEK_END)
            self._write()
            self._raise_if_stopped()
            with process.start(executed, output, environment, [self.lock, *gpus.locks]) as running:
                run["pid"] = running.pid
                self._write()
                keep_up()
                for line in clean_lines(process.follow(seen, running, self.stop, *ends, beat=self.lock.beat)):
                    lines.append(line)
                    if self.iterations:
                        self.iterations.see(line)
                    if time.monotonic() - shown > _SHOWN_EVERY:
                        shown = time.monotonic()
                        show_new_files(self.folder, self.command)
                    if text := milestone(line, self.command.ranks):
                        LOGGER.info(text, extra=TERMINAL_ONLY)
                    LOGGER.debug(line)
        return running.returncode, lines

    def _record_state(self) -> None:
        if not self.lineage:
            return
        for note in state_record.of_program(self.command, self.folder):
            LOGGER.info(note)

    def _write(self) -> None:
        record.write(self.folder, self.record)

    def _raise_if_stopped(self) -> None:
        """Interrupted if this process was asked to end."""
        if self.stop:
            raise Interrupted(
                f"{self.command.program} was stopped ({signal.Signals(self.stop[0]).name}), perhaps at a time limit; "
                "what is done is kept: run Snakemake again to go on from there."
            )


def relaxed(command: Command, retry: str) -> Command:
    """The command with which a failure may be cured: "continue", "combine_via_disc" or "fewer_threads"."""
    flags, launcher = dict(command.flags), command.launcher
    if retry == "combine_via_disc":
        flags.pop("--dont_combine_weights_via_disc", None)
    if retry == "fewer_threads" and command.ranks > FEWEST and not command.record.check_ranks:
        launcher = (*launcher[:-1], str(max(FEWEST, command.ranks // 2)))
    elif retry == "fewer_threads":
        for flag in {"--j", "--j_out", "--pool"} & flags.keys():
            flags[flag] = [str(max(1, int(flags[flag][0]) // 2))]
    return replace(command, launcher=launcher, flags=flags)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
