"""The tokens that the text model reads, writes and is charged for: words of at most 16 letters, and single signs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

_TOKEN = re.compile(r"\w{1,16}|[^\w\s]")
_WITHOUT_SPACE = frozenset(".,;:!?)")


def tokens_of(text: str) -> list[str]:
    """The tokens of a text, in order; white space separates and is none.

    >>> tokens_of("Don't stop, now.")
    ['Don', "'", 't', 'stop', ',', 'now', '.']
    """
    return _TOKEN.findall(text)


def count(texts: Iterable[str], most: int) -> int:
    """How many tokens texts have together, without keeping them; stops at ``most``.

    >>> count(["one two", "three"], 10), count(["one two", "three"], 2)
    (3, 2)
    """
    return sum(1 for _ in islice((token for text in texts for token in _TOKEN.finditer(text)), most))


def spaced(tokens: Iterator[str]) -> Iterator[str]:
    """Tokens with the space that stands before them in a text, so that all of them together are one."""
    is_first = True
    for token in tokens:
        yield token if is_first or token in _WITHOUT_SPACE else f" {token}"
        is_first = False
