"""The one exception for wrong input by a user; the command line prints its message without a traceback."""


class UserError(ValueError):
    """Something the user gave cannot be used. The message says what was expected, what came, and what to do."""
