"""Every error this library raises on purpose; each knows the exit code of the command that it ends."""

from __future__ import annotations


class QuotaloopError(Exception):
    """Base of all errors: one line that says what, where and what to do."""

    exit_code = 1


class UsageError(QuotaloopError):
    """The call itself is wrong: an unknown setting, format, topic or number."""

    exit_code = 2


class CheckRefused(QuotaloopError):
    """A check said no; nothing became visible."""

    exit_code = 3


class InputUnreadable(QuotaloopError):
    """A file that was named cannot be read as what it says it is."""

    exit_code = 4


class ServiceUnreachable(QuotaloopError):
    """A server or a program that the work needs does not answer."""

    exit_code = 5
