"""The one exception that a user is meant to see."""


class UserError(Exception):
    """A mistake in the input, the config or the set-up, told in one sentence: what, where, what to do."""


class ProgramError(UserError):
    """A program that was run failed, or did not make what it should have made."""
