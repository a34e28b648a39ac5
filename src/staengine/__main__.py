"""`python -m staengine [--ranks N] PROGRAM ARGS...`: runs the module that stands for a RELION program.

With MPI (PROGRAM_mpi) it runs as N processes, or as those that a launcher started: see `ranks`.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys

from staengine.cli import mark_exit
from staengine.errors import AbortError, EngineError
from staengine.ranks import Launch

PROGRAMS = {
    "relion_tomo_subtomo": "subtomo",
    "relion_tomo_reconstruct_particle": "reconstruct_particle",
    "relion_tomo_reconstruct_tomogram": "reconstruct_tomogram",
    "relion_refine": "refine",
    "relion_mask_create": "mask_create",
    "relion_postprocess": "postprocess",
    "relion_tomo_refine_ctf": "refine_ctf",
    "relion_tomo_align": "align",
    "relion_align_symmetry": "align_symmetry",
    "relion_particle_symmetry_expand": "particle_symmetry_expand",
    "simulate": "simulate",
    "truth": "truth",
}


# Those that have an _mpi build, whose `main` is given a Launch: None if it is not that build.
WITH_MPI = frozenset(
    {
        *(
            "relion_tomo_subtomo",
            "relion_tomo_reconstruct_particle",
            "relion_tomo_refine_ctf",
            "relion_tomo_align",
        ),
        *("relion_refine", "relion_postprocess"),
    }
)


def main(argv: list[str] | None = None) -> int:
    """Run one program; return its exit status: 0, 1 (an error, printed in one sentence) or 2 (aborted)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    ranks, argv = (int(argv[1]), argv[2:]) if argv[:1] == ["--ranks"] else (0, argv)
    names = [*PROGRAMS, *(f"{name}_mpi" for name in sorted(WITH_MPI))]
    if not argv or argv[0] not in names:
        asked_help = argv[:1] in (["--help"], ["-h"])
        usage = f"usage: python -m staengine [--ranks N] PROGRAM ARGS...  PROGRAM: {', '.join(names)}"
        print(usage, file=sys.stdout if asked_help else sys.stderr)
        return 0 if asked_help else 1
    os.environ.setdefault(
        "OPENBLAS_NUM_THREADS", "1"
    )  # --j sets the number of threads; small matrix products need one
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a log is read while it grows
    program, *arguments = argv
    launch = Launch(ranks) if program.endswith("_mpi") else None
    if launch:
        launch.silence()
    signal.signal(signal.SIGTERM, lambda *_: _terminate(launch))
    status = _run(program.removesuffix("_mpi"), arguments, launch)
    if launch is None or launch.leads:
        mark_exit(_value_after("--pipeline_control", arguments), status)
    return status


def _terminate(launch: Launch | None) -> None:
    if launch:
        launch.started.stop()
    os._exit(128 + signal.SIGTERM)


def _run(program: str, arguments: list[str], launch: Launch | None) -> int:
    run = importlib.import_module(f"staengine.programs.{PROGRAMS[program]}").main
    try:
        status: int = run(arguments, launch) if program in WITH_MPI else run(arguments)
        return status or (launch.started.ended() if launch else 0)
    except EngineError as error:
        message, status = str(error), 2 if isinstance(error, AbortError) else 1
    except FileNotFoundError as error:
        message, status = f"{error.filename} does not exist.", 1
    except OSError as error:  # disk full, no permission, ..
        message, status = f"{error.filename or PROGRAMS[program]}: {error.strerror or error}.", 1
    except MemoryError:
        message, status = "out of memory: use a smaller box or a larger binning.", 1
    except KeyboardInterrupt:
        message, status = "interrupted.", 130
    if launch and not launch.started.leads:
        launch.started.fail(AbortError(message) if status == 2 else EngineError(message))
        return status
    if launch:
        launch.started.stop()
    sys.stdout.flush()
    print(f"ERROR: {message}", file=sys.stderr)
    return status


def _value_after(flag: str, arguments: list[str]) -> str:
    after = arguments[arguments.index(flag) + 1 :] if flag in arguments else []
    return after[0] if after else ""


if __name__ == "__main__":
    done = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(done)  # at once: a signal during the interpreter's cleanup would look like a failure
