"""The scripts of the Redis store: which text they are of, and how they are run, quickly."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import NoScriptError, RedisError, ResponseError

from quotaloop.limiter.store import StoreUnavailable


class Scripts:
    """Scripts by their hashes, each with the algorithms that it needs; a server learns one that it does not know.

    Every thread has a connection for itself, by the settings of the client, whose own way around a command costs as
    much again as the command.
    """

    def __init__(self, client: Redis) -> None:
        self._pool = client.connection_pool
        self._shas: dict[tuple[str, frozenset[str]], str] = {}
        self._own = threading.local()

    def run(self, verb: str, words: frozenset[str], keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """What the script answers. Raises ``StoreUnavailable`` where it does not."""
        try:
            sha = self._shas.get((verb, words)) or self._learnt(verb, words)
            try:
                return self._asked("EVALSHA", sha, len(keys), *keys, *arguments)
            except NoScriptError:
                sha = self._learnt(verb, words)
                return self._asked("EVALSHA", sha, len(keys), *keys, *arguments)
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis does not count: {error}") from error

    def _learnt(self, verb: str, words: frozenset[str]) -> str:
        folder = files("quotaloop.limiter") / "scripts"
        text = "".join((folder / f"{part}.lua").read_text("utf-8") for part in ("asks", *sorted(words), verb))
        answer = self._asked("SCRIPT", "LOAD", text)
        sha = self._shas[verb, words] = answer.decode() if isinstance(answer, bytes) else str(answer)
        return sha

    def _asked(self, *words: str | int) -> Any:
        """The answer to a command; it is asked once more over a new connection if the one before was closed.

        Whatever was counted meanwhile is then counted twice at most: never too little.
        """
        is_old = getattr(self._own, "process", None) == os.getpid()
        if not is_old:  # none yet, or one that a fork shares with its parent
            self._connect()
        try:
            return self._sent(words)
        except Disconnected:
            if not is_old:
                raise
        return self._sent(words)  # the server had closed it, as when it was started again

    def _connect(self) -> None:
        self._own.connection = self._pool.connection_class(**self._pool.connection_kwargs)
        self._own.process = os.getpid()

    def _sent(self, words: Sequence[str | int]) -> Any:
        try:
            self._own.connection.send_command(*words)
            return self._own.connection.read_response()
        except ResponseError:
            raise
        except BaseException:  # what comes later on it would be another's answer
            self._own.connection.disconnect()
            raise
