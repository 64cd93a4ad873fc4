"""The core of every protocol: an attempt arrives, is let in or refused, and ends as one event and one settlement."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, Protocol

from quotaloop.edge.arrival import Arrival, Estimate, Identity
from quotaloop.edge.emitter.throttled_warnings import ThrottledWarnings
from quotaloop.edge.exchange import ANONYMOUS, Exchange, HeldAs, costs_of
from quotaloop.edge.forks import begins_anew
from quotaloop.edge.refusal import Refused, over_limit, unauthenticated, unknown_version
from quotaloop.edge.routes import Matched, Route, Routes
from quotaloop.edge.versions import UNKNOWN, Version, Versions
from quotaloop.limiter.answer import Answer
from quotaloop.limiter.limiter import Limiter
from quotaloop.limiter.memory import MemoryStore
from quotaloop.quotas.policy import Kind

_NO_COSTS: Mapping[Kind, int] = {"tokens": 0, "compute": 0}
_THREADS = 8  # that ask a store over a network
_LOG = logging.getLogger("quotaloop.edge")
_current: ContextVar[Exchange] = ContextVar("quotaloop.exchange")


class Emits(Protocol):
    """What takes events."""

    def write(self, event: dict[str, Any]) -> None:
        """Keep an event; it neither waits nor raises."""
        ...

    def close(self, timeout_s: float = ...) -> None:
        """Send on what there is time for."""
        ...


def current() -> Exchange:
    """The attempt that this code works for; raises ``LookupError`` outside of one."""
    return _current.get()


def _nothing(_: Arrival) -> Estimate:
    return Estimate()


class Edge:
    """Meters an API: knows its routes and versions, asks the limiter, writes events.

    ``identify`` says whose request it is, None for nobody's (then its tenant is ``anonymous``); ``estimate`` what it
    may cost. Both are called for every attempt and must not block. Stores that are asked over a network are asked in
    threads. The slot and costs of an attempt that takes long are held until it ends.
    """

    def __init__(
        self,
        limiter: Limiter,
        emitter: Emits,
        *,
        identify: Callable[[Arrival], Identity | None],
        versions: Versions,
        routes: Sequence[Route],
        estimate: Callable[[Arrival], Estimate] = _nothing,
        challenge: str = "Bearer",
        most_body_bytes: int = 262_144,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.limiter, self.emitter, self.versions = limiter, emitter, versions
        self.most_body_bytes = most_body_bytes
        self.is_stopping = False
        self._identify, self._estimate, self._challenge = identify, estimate, challenge
        self._now_ms, self._clock_ns = now_ms, clock_ns
        self._routes = Routes(routes, versions)
        self._fields = {version.name: version.fields() for version in versions.known}
        self._warnings = ThrottledWarnings(__name__)
        self._stopped = threading.Event()
        self._begin()
        begins_anew(self)

    def forked(self) -> None:
        """This is a child of a fork: ids and threads of its own, and nothing under way."""
        self._begin()

    def _begin(self) -> None:
        self._ids, self._id_start = itertools.count(1), secrets.token_hex(8)
        self._live: dict[str, Exchange] = {}
        is_here = isinstance(self.limiter.store, MemoryStore)
        self._pool = None if is_here else ThreadPoolExecutor(_THREADS, "quotaloop-limiter")
        self._keeper, self._keeping = threading.Thread(), threading.Lock()

    def match(self, path: str) -> Matched:
        """The route of a path."""
        return self._routes.match(path)

    def arrive(self, arrival: Arrival) -> Exchange:
        """An attempt begins: its id, its time, its size."""
        event_id = f"{self._id_start}-{next(self._ids):x}"
        return Exchange(arrival, event_id, self._now_ms(), self._clock_ns(), self._clock_ns)

    def resolve(self, exchange: Exchange, matched: Matched) -> tuple[Version | None, Refused | None]:
        """Whose it is and which version it asks for; the refusal for what cannot be served, once it is counted."""
        arrival, route = exchange.arrival, matched.route
        asked = self.versions.resolve(arrival, matched.version_word)
        identity = self._identify(arrival)
        exchange.tenant = identity.tenant if identity else ANONYMOUS
        exchange.api_key_id = identity.api_key_id if identity else None
        exchange.api_version = arrival.api_version = asked.version.name if asked.version else UNKNOWN
        exchange.version_source = asked.source
        exchange.route, exchange.operation = route.name(asked.version), route.operation
        exchange.retry_of = arrival.header(b"x-retry-of")
        if identity is None and not route.public:
            return asked.version, unauthenticated(self._challenge)
        return asked.version, None if asked.version else unknown_version(asked, self.versions)

    async def let_in(self, exchange: Exchange, refusal: Refused | None) -> Answer:
        """Reserve what the attempt may cost; raises ``Refused`` where a limit says no, or ``refusal``, once counted."""
        estimate = Estimate() if refusal else self._estimated(exchange.arrival)
        answer = await self.reserve(exchange, estimate)
        if refusal is not None:
            raise refusal
        return answer

    def let_in_here(self, exchange: Exchange, refusal: Refused | None) -> Answer:
        """``let_in`` for a thread that may wait: the store is asked in it, over a network, too."""
        costs = self._costs(exchange, Estimate() if refusal else self._estimated(exchange.arrival))
        answer = self._judged(exchange, costs, self._reserve(exchange, costs))
        if refusal is not None:
            raise refusal
        return answer

    def _estimated(self, arrival: Arrival) -> Estimate:
        """What the application makes of a request; nothing where it makes no sense of it, which a client may cause."""
        try:
            found = self._estimate(arrival)
            if all(type(amount) is int and amount >= 0 for amount in (found.tokens, found.gpu_us)):
                return found
            problem = f"{found} holds what is no amount"
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        self._warnings.say(f"an estimate failed, and the request counts as one without tokens: {problem}")
        return Estimate()

    async def reserve(self, exchange: Exchange, estimate: Estimate) -> Answer:
        """Reserve this estimate; raises ``Refused`` where a limit says no."""
        costs = self._costs(exchange, estimate)
        if self._pool is None:
            answer = self._reserve(exchange, costs)
        else:
            asked = self._pool.submit(self._reserve, exchange, costs)
            try:
                answer = await asyncio.shield(asyncio.wrap_future(asked))
            except asyncio.CancelledError:  # whoever asked has gone: an attempt that counts, and comes to nothing
                asked.add_done_callback(lambda _: self._settle_soon(exchange, _NO_COSTS))
                raise
        return self._judged(exchange, costs, answer)

    def end(self, exchange: Exchange, status: int, outcome: str) -> None:
        """The attempt has ended: write its event and settle what it cost; only the first end counts."""
        if exchange.is_finished:
            return
        exchange.is_finished = True
        was_let_in, costs = self._live.pop(exchange.event_id, None) is not None, _NO_COSTS
        try:
            event = exchange.event(status, outcome, self._clock_ns())
            costs = costs_of(event)  # a handler that has not noticed may still count
            self.emitter.write(event)
        except Exception:  # whatever a handler has left there: its slot must be free
            _LOG.exception("the event of attempt %s is lost", exchange.event_id)
        if was_let_in:
            self._settle_soon(exchange, costs)

    def fields(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        """What every answer says: the id of the attempt, and that its version is going away."""
        return [
            (b"x-request-id", exchange.event_id.encode()),
            *self._fields.get(exchange.api_version, ()),
        ]

    def stopping(self) -> None:
        """The server is about to end: what is cut off from now on is its own doing, not the client's."""
        self.is_stopping = True

    async def close(self, timeout_s: float = 5.0) -> None:
        """Wait until no attempt is under way, settle all, and send on events as far as time allows."""
        end = time.monotonic() + timeout_s
        while self._live and time.monotonic() < end:
            await asyncio.sleep(0.005)
        self._stopped.set()
        await asyncio.to_thread(self._close, max(end - time.monotonic(), 0.1))

    def _close(self, timeout_s: float) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        self.emitter.close(timeout_s)

    def _costs(self, exchange: Exchange, estimate: Estimate) -> dict[Kind, int]:
        exchange.model, exchange.held_ms = estimate.model, self._now_ms()
        return {"requests": 1, "tokens": estimate.tokens, "concurrency": 1, "compute": estimate.gpu_us}

    def _reserve(self, exchange: Exchange, costs: dict[Kind, int]) -> Answer:
        model, api_version = exchange.model, exchange.api_version
        answer = self.limiter.reserve(
            exchange.tenant,
            exchange.event_id,
            costs,
            now_ms=exchange.held_ms,
            model=model,
            api_version=api_version,
            guessed=True,
        )
        exchange.held_as = HeldAs(model, api_version, answer)
        return answer

    def _judged(self, exchange: Exchange, costs: dict[Kind, int], answer: Answer) -> Answer:
        """The answer, and the attempt is under way; raises ``Refused`` where it is no."""
        if not answer.allowed:
            refused = over_limit(answer, costs)
            refused.problem["request_id"] = exchange.event_id
            exchange.denied_by = refused.denied_by
            exchange.wanted_tokens = costs["tokens"] if refused.denied_by else None
            raise refused
        self._live[exchange.event_id] = exchange
        if not self._keeper.is_alive():
            self._keep()
        return answer

    def _settle(self, exchange: Exchange, costs: Mapping[Kind, int]) -> None:
        if exchange.held_as is None:
            return
        model, version, answer = exchange.held_as
        self.limiter.settle(
            exchange.tenant,
            exchange.event_id,
            costs,
            now_ms=self._now_ms(),
            model=model,
            api_version=version,
            answer=answer,
        )

    def _settle_soon(self, exchange: Exchange, costs: Mapping[Kind, int]) -> None:
        """Here where that takes no time, else in a thread; here, too, once the edge is closed."""
        if self._pool is not None:
            try:
                self._pool.submit(self._settle, exchange, costs).add_done_callback(_said)
            except RuntimeError:
                _LOG.info("attempt %s ended after the edge", exchange.event_id)
            else:
                return
        self._settle(exchange, costs)

    def _keep(self) -> None:
        """Start holding what takes long; once a process, also after a fork."""
        with self._keeping:  # by one of the threads that come at once
            if not self._keeper.is_alive():
                self._keeper = threading.Thread(target=self._extend, name="quotaloop-keeper", daemon=True)
                self._keeper.start()

    def _extend(self) -> None:
        hold_ms = self.limiter.store.hold_ms
        while not self._stopped.wait(hold_ms / 4_000):
            now_ms = self._now_ms()
            for exchange in list(self._live.values()):
                # A clock that was set back has shortened what is held.
                if not 0 <= now_ms - exchange.held_ms < hold_ms // 4 and exchange.held_as is not None:
                    model, version, answer = exchange.held_as
                    self.limiter.extend(
                        exchange.tenant,
                        exchange.event_id,
                        now_ms=now_ms,
                        model=model,
                        api_version=version,
                        answer=answer,
                    )
                    exchange.held_ms = now_ms


def _said(future: Future[None]) -> None:
    if (error := future.exception()) is not None:
        _LOG.error("an attempt could not be settled: %s", error)
