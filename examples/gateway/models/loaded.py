"""The models of a gateway, once they are trained, by the names that clients give."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

from examples.gateway.models import classifier, generator
from examples.gateway.models.classifier import Digits
from examples.gateway.models.generator import Markov
from examples.gateway.problems import Problem
from examples.gateway.schemas import ModelCard

FRAGILE = "fragile"
_WHOLE = 3  # tokens before it breaks


class Writes(Protocol):
    """A text model."""

    def texts(self, prompt: Sequence[str], seed: int, max_tokens: int, start: int = 0) -> Iterator[str]:
        """The tokens of an answer after the first ``start``."""
        ...


class Fragile:
    """The text model, broken: it fails after three tokens. For tests of clients."""

    def __init__(self, markov: Markov) -> None:
        self._markov = markov

    def texts(self, prompt: Sequence[str], seed: int, max_tokens: int, start: int = 0) -> Iterator[str]:
        """The first tokens that are asked for, then ``Problem`` 500."""
        yield from islice(self._markov.texts(prompt, seed, max_tokens), start, _WHOLE)
        raise Problem(500, "The model failed", f"{FRAGILE} always does, after {_WHOLE} tokens")


class Models:
    """Empty until ``train`` is done; before that, whoever asks for a model is told to come back (503)."""

    def __init__(self, *, faults: bool = False) -> None:
        self._faults = faults
        self._texts: dict[str, Writes] = {}
        self._cards: list[ModelCard] = []
        self._digits: Digits | None = None

    async def train(self) -> None:
        """Train them in threads, so that the gateway answers meanwhile."""
        markov, digits = await asyncio.gather(asyncio.to_thread(generator.train), asyncio.to_thread(classifier.train))
        self._digits = digits
        self._texts = {generator.ID: markov} | ({FRAGILE: Fragile(markov)} if self._faults else {})
        self._cards = [
            _card(generator.ID, "conversation", generator.DESCRIPTION, markov.vocabulary),
            _card(classifier.ID, "image_classify", classifier.DESCRIPTION, digits.vocabulary),
        ]

    def text(self, name: str) -> Writes:
        """The text model of this name; raises ``Problem`` 404 where there is none, and 503 before it is trained."""
        if not self._texts:
            raise _starting()
        if (found := self._texts.get(name)) is None:
            raise Problem(404, "There is no such model", f"there are {', '.join(self._texts)}")
        return found

    def digits(self) -> Digits:
        """The picture model; raises ``Problem`` 503 before it is trained."""
        if self._digits is None:
            raise _starting()
        return self._digits

    def cards(self) -> list[ModelCard]:
        """What there is; raises ``Problem`` 503 before it is trained."""
        if not self._cards:
            raise _starting()
        return self._cards


def _card(name: str, task: str, description: str, vocabulary: int) -> ModelCard:
    return ModelCard.model_validate({"id": name, "task": task, "description": description, "vocabulary": vocabulary})


def _starting() -> Problem:
    return Problem(503, "The models are not trained yet", "come back in 2 s", {"Retry-After": "2"})
