"""Who begins anew in a child of a fork, into which no thread comes along."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forks(Protocol):
    """Something that has threads, locks or names of its process."""

    def forked(self) -> None:
        """This is a child: what the parent has stays the parent's."""
        ...


_KNOWN: weakref.WeakSet[Forks] = weakref.WeakSet()


def begins_anew(one: Forks) -> None:
    """Let it be told in every child, as long as anybody holds it."""
    _KNOWN.add(one)


def _tell() -> None:
    for one in list(_KNOWN):
        one.forked()


os.register_at_fork(after_in_child=_tell)
