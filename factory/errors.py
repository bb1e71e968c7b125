"""`UserError`, which the command line prints as one line with exit code 2, and the escaping of texts for messages."""

import re

USERINFO = re.compile(r"(://)[^/@\s]*@")


class UserError(Exception):
    """Bad input; nothing was changed. The message says what is wrong, where, and how to mend it. It can be encoded as
    UTF-8, and passwords in its URLs are removed."""

    def __init__(self, message: str) -> None:
        super().__init__(redacted(encodable(message)))


def redacted(text: str) -> str:
    """The text without the user and password of its URLs: http://me:secret@host becomes http://host."""
    return USERINFO.sub(r"\1", text)


def encodable(text: str) -> str:
    r"""The text in a form that UTF-8 can encode: a byte of a file name that is not UTF-8 becomes \udc80 to \udcff."""
    return text.encode("utf-8", "backslashreplace").decode()


def escaped(text: str) -> str:
    r"""The text as one line of printable characters: control characters, line ends and lone surrogates are written as
    escapes, such as \x1b, \n and \udc80."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def first_line(error: Exception) -> str:
    """The first line of what an exception says that is not empty, 300 characters at most; else the exception's name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
