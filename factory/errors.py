"""The one exception the command line turns into a single clear line and exit code 2."""


class UserError(Exception):
    """Bad input. The message says what is wrong, where, and how to mend it; nothing was touched."""
