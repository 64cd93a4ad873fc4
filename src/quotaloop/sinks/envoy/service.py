"""What an instance of Envoy's rate limit service says that it has loaded, at its debug port."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError

from quotaloop.errors import ServiceUnreachable
from quotaloop.sinks.envoy.document import MARK

_MARKED = re.compile(rf".*\.{MARK}_(\d+-[0-9a-f]+): unit=UNKNOWN .*")
_PAUSE_S = 0.02
_LEAST_S = 1.0  # to wait for an answer, however impatient


class Instances:
    """Instances of the service, each asked by the ``url`` of its debug port; none: whatever is asked is answered well.

    A rule set that is not valid is refused by the service without a word, and the one before stays: only this tells.
    """

    def __init__(self, urls: Sequence[str], patience_ms: int) -> None:
        self._urls = urls
        self._patience_s = patience_ms / 1_000
        self._pool = urllib3.PoolManager(retries=False, timeout=max(self._patience_s, _LEAST_S))

    def have(self, lines: Counter[str]) -> bool:
        """Has each loaded exactly this? One that does not answer has not."""
        try:
            return all(self._loaded(url) == lines for url in self._urls)
        except ServiceUnreachable:
            return False

    def wait(self, lines: Counter[str]) -> None:
        """Until each has loaded exactly this, or patience is at its end: then it is for ``differences`` to tell."""
        begun = time.monotonic()
        end = begun + self._patience_s
        while not self.have(lines) and time.monotonic() < end:
            answered = time.monotonic()
            time.sleep(max(_PAUSE_S, answered - begun))  # to print itself, it takes the square of its rules
            begun = time.monotonic()

    def differences(self, lines: Counter[str]) -> list[str]:
        """What each has loaded that is not of these, and what it lacks; raises ``ServiceUnreachable``."""
        return [line for url in self._urls for line in _differences(url, lines, self._loaded(url))]

    def _loaded(self, url: str) -> Counter[str]:
        try:
            answer = self._pool.request("GET", f"{url}/rlconfig", redirect=False)
            text = answer.data.decode()
        except (HTTPError, LocationValueError, UnicodeDecodeError) as error:
            raise ServiceUnreachable(f"the rate limit service at {url} does not answer: {error}") from error
        if answer.status != 200:
            raise ServiceUnreachable(f"{url}/rlconfig answers {answer.status}: is it the debug port of the service?")
        return Counter(text.splitlines())


def _differences(url: str, lines: Counter[str], loaded: Counter[str]) -> list[str]:
    if loaded == lines:
        return []
    if not loaded:
        return [f"{url} has loaded no rules: everything passes there"]
    wanted, held = _marks(lines), _marks(loaded)
    found = [f"{url} has loaded {held or 'rules of somebody else'}, not {wanted}"] if held != wanted else []
    found += [f"{url} lacks {line}" for line in sorted((lines - loaded).elements()) if _marked(line) is None]
    return found + [f"{url} holds {line}" for line in sorted((loaded - lines).elements()) if _marked(line) is None]


def _marks(lines: Counter[str]) -> str:
    return " and ".join(sorted(mark for line in lines if (mark := _marked(line)) is not None))


def _marked(line: str) -> str | None:
    """What a line says of the policy it is of, if it is the line for that."""
    match = _MARKED.fullmatch(line)
    return match[1] if match else None
