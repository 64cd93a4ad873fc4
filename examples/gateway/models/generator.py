"""A text model: a trigram chain over the words of Python's own documentation, which Python's standard library ships."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from pydoc_data.topics import topics
from random import Random

from examples.gateway.models.tokens import spaced, tokens_of

ID = "markov"
MOST_PROMPT = 8_192  # tokens
DESCRIPTION = "a toy: trigrams of the help texts that Python ships, trained at start; it writes words, not sense"
_PROSE = re.compile(r"[A-Z*]")  # how a paragraph begins that is neither code nor a list
_NO_PROSE = re.compile(r"^\s|::=|>>>|[=~^-]{3}", re.MULTILINE)
_LEFT_OUT = re.compile(r"\([^()]*\)|\[[^\]]*\]|[^\w\s.,;:'-]")
_STOP = "."


class Markov:
    """The next word is drawn from those that follow the last two in the text it was trained on, as often as there."""

    def __init__(self, text: str) -> None:
        words = [_STOP, *tokens_of(text)]
        self._after_two: dict[tuple[str, str], list[str]] = {}
        self._after_one: dict[str, list[str]] = {}
        for first, second, third in zip(words, words[1:], words[2:], strict=False):
            self._after_two.setdefault((first, second), []).append(third)
            self._after_one.setdefault(second, []).append(third)
        self._after_one.setdefault(_STOP, words[1:2] or [_STOP])
        self.vocabulary = len(set(words))

    def words(self, prompt: Sequence[str], seed: int) -> Iterator[str]:
        """Words without end that go on from a prompt; the same for the same prompt and seed."""
        draw = Random(_number(prompt, seed))
        first, second = "", _STOP
        if prompt:
            first, second = prompt[-2] if len(prompt) > 1 else "", prompt[-1]
        while True:
            after = self._after_two.get((first, second)) or self._after_one.get(second) or self._after_one[_STOP]
            first, second = second, after[int(draw.random() * len(after))]
            yield second

    def texts(self, prompt: Sequence[str], seed: int, max_tokens: int, start: int = 0) -> Iterator[str]:
        """The tokens after the first ``start``, with the spaces between them, at most ``max_tokens`` with those.

        An answer ends at the first full stop in the last quarter of what it may have. Tokens that are skipped are
        drawn too, which takes a microsecond each.
        """
        return islice(spaced(_ended(self.words(prompt, seed), max_tokens)), start, None)


def train() -> Markov:
    """The model of the help texts of the Python that runs this: some 30,000 words, a fraction of a second."""
    return Markov(" ".join(_prose("\n\n".join(topics.values()))))


def _ended(words: Iterator[str], max_tokens: int) -> Iterator[str]:
    for number, word in enumerate(islice(words, max_tokens), start=1):
        yield word
        if word == _STOP and 4 * number > 3 * max_tokens:
            return


def _prose(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        if _PROSE.match(paragraph) and not _NO_PROSE.search(paragraph) and paragraph.rstrip().endswith(_STOP):
            yield _LEFT_OUT.sub(" ", re.sub(r"-\n", "-", paragraph))


def _number(prompt: Sequence[str], seed: int) -> int:
    text = "\0".join((str(seed), *prompt))
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
