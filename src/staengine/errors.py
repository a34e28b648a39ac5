"""The engine's exceptions: a user's mistake, in one sentence, and a stop that was asked for."""


class EngineError(Exception):
    """Wrong input or command line. The text names what is wrong, where, and what to do."""


class AbortError(EngineError):
    """RELION_JOB_ABORT_NOW asked the job to stop; the program ends with exit status 2."""
