"""Keeps a limiter at the newest policy, without a restart: from a file, Redis or a topic of Kafka."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from quotaloop.edge.forks import begins_anew
from quotaloop.errors import CheckRefused
from quotaloop.limiter.limiter import Limiter
from quotaloop.quotas.policy import Policy, parse
from quotaloop.raw.kafka.access import Access

_LOG = logging.getLogger("quotaloop.edge")

Read = Callable[[], Policy | None]


class Follower:
    """Reads the policy every ``every_ms`` and loads one that is newer; whatever goes wrong, the limiter keeps its own.

    An older epoch is refused, a policy that has expired gives way to its safe capacity: both is the limiter's doing.
    ``wait_for`` and ``problem`` are for whoever watches it.
    """

    def __init__(self, limiter: Limiter, read: Read, *, every_ms: int = 1_000) -> None:
        self.limiter, self.problem = limiter, ""
        self._read, self._every_s = read, every_ms / 1_000
        self._begin()
        begins_anew(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="quotaloop-policy", daemon=True)

    def forked(self) -> None:
        """This is a child of a fork, into which no thread comes along."""
        was_started, was_stopped = self._thread.ident is not None, self._stopped.is_set()
        self._begin()
        if was_started and not was_stopped:
            self._thread.start()

    @property
    def epoch(self) -> int:
        """Of the newest policy that the limiter has, 0 where it has none."""
        return self.limiter.epoch or 0

    def start(self) -> Follower:
        """Look once, here and now, then go on in a thread."""
        self.look()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> bool:
        """Read once; says whether a newer policy was loaded."""
        try:
            policy = self._read()
            if policy is None or policy.epoch == self.epoch:
                self._said("")
                return False
            self.limiter.load(policy)
        except Exception as error:  # whatever a source raises: a thread that ends would load nothing more, unsaid
            self._said(str(error) or type(error).__name__)
            return False
        with self._changed:
            self._changed.notify_all()
        _LOG.info("policy %d is loaded", policy.epoch)
        self._said("")
        return True

    def wait_for(self, epoch: int, timeout_s: float) -> bool:
        """Wait until a policy of at least this epoch is loaded; False where it is not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.epoch >= epoch, timeout_s)

    def _follow(self) -> None:
        while not self._stopped.wait(self._every_s):
            self.look()

    def _said(self, problem: str) -> None:
        """Say what is wrong once, not at every look."""
        if problem and problem != self.problem:
            _LOG.warning("the policy stays as it is: %s", problem)
        self.problem = problem


def from_file(path: Path) -> Read:
    """From a file as the file sink writes it, read again only when it was replaced; a missing one says nothing."""
    seen: tuple[int, int, int] | None = None
    last: Policy | None = None

    def read() -> Policy | None:
        nonlocal seen, last
        try:
            found = path.stat()
            now = (found.st_ino, found.st_mtime_ns, found.st_size)
            if now != seen:
                last = parse(path.read_bytes())
                seen = now
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckRefused(f"{path.name} cannot be read: {error.strerror}") from error
        return last

    return read


def from_redis(url: str, *, prefix: str = "quotaloop", timeout_ms: int = 1_000) -> Read:
    """From Redis as its sink puts it there; the whole policy is fetched only when its epoch has changed."""
    from quotaloop.limiter.redis_store import connect
    from quotaloop.sinks.redis.policy import key_of, read, translated

    client = connect(url, timeout_ms=timeout_ms)
    key, last = key_of(prefix), dict[str, Policy | None]()

    def policy() -> Policy | None:
        with translated(client, key):
            epoch = client.hget(key, "epoch")
        if epoch is None or epoch not in last:
            found = read(client, prefix)
            last.clear()
            last[epoch] = found
        return last[epoch]

    return policy


def from_kafka(access: Access, topic: str) -> Read:
    """From the compacted topic of the Kafka sink; read again only when it has grown."""
    from quotaloop.sinks.kafka.records import policy_of
    from quotaloop.sinks.kafka.topic import PolicyTopic

    ends: dict[int, int] | None = None
    last: Policy | None = None

    def read() -> Policy | None:
        nonlocal ends, last
        asked = PolicyTopic(access, topic)
        there = asked.topic()
        if there is None:
            return None
        now = {number: one.stable for number, one in asked.offsets(there).items()}
        if now != ends:
            last = policy_of({key: value for (_, key), value in asked.lying(there).items()})
            ends = now
        return last

    return read
