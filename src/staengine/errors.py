"""The engine's one exception: a mistake of the user, said in one sentence."""


class EngineError(Exception):
    """Wrong input or command line. Its text names what is wrong, where, and what to do."""


class AbortError(EngineError):
    """The job was asked to stop (RELION_JOB_ABORT_NOW); the program ends with exit status 2."""
