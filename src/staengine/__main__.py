"""`python -m staengine PROGRAM ARGS...`: runs the module that stands for a RELION program."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from staengine.cli import mark_exit
from staengine.errors import AbortError, EngineError

PROGRAMS = {
    "relion_tomo_subtomo": "subtomo",
    "relion_tomo_reconstruct_particle": "reconstruct_particle",
    "relion_refine": "refine",
    "relion_refine_mpi": "refine_mpi",
    "relion_mask_create": "mask_create",
    "relion_postprocess": "postprocess",
    "relion_postprocess_mpi": "postprocess_mpi",
    "relion_tomo_refine_ctf": "refine_ctf",
    "relion_tomo_align": "align",
    "relion_align_symmetry": "align_symmetry",
    "relion_particle_symmetry_expand": "particle_symmetry_expand",
    "simulate": "simulate",
    "truth": "truth",
}


def main(argv: list[str] | None = None) -> int:
    """Run one program; return its exit status: 0, 1 (an error, printed in one sentence) or 2 (aborted)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] not in PROGRAMS:
        asked_help = argv[:1] in (["--help"], ["-h"])
        usage = f"usage: python -m staengine PROGRAM ARGS...  PROGRAM: {', '.join(PROGRAMS)}"
        print(usage, file=sys.stdout if asked_help else sys.stderr)
        return 0 if asked_help else 1
    os.environ.setdefault(
        "OPENBLAS_NUM_THREADS", "1"
    )  # --j sets the number of threads; small matrix products need one
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a log is read while it grows
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    program, *arguments = argv
    status = _run(program, arguments)
    mark_exit(_value_after("--pipeline_control", arguments), status)
    return status


def _run(program: str, arguments: list[str]) -> int:
    module = PROGRAMS[program]
    try:
        return importlib.import_module(f"staengine.programs.{module}").main(arguments)
    except EngineError as error:
        message, status = str(error), 2 if isinstance(error, AbortError) else 1
    except FileNotFoundError as error:
        message, status = f"{error.filename} does not exist.", 1
    except OSError as error:  # disk full, no permission, ..
        message, status = f"{error.filename or module}: {error.strerror or error}.", 1
    except MemoryError:
        message, status = "out of memory: use a smaller box or a larger binning.", 1
    except KeyboardInterrupt:
        message, status = "interrupted.", 130
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
