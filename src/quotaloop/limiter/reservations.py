"""What requests have reserved, for as long as it is held, and for a while which of them are settled."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

_Key = tuple[str, str]  # subject, request id


class Reservation(Struct, gc=False):
    """What a request has spent by key, when, and until when that is remembered (epoch ms)."""

    costs: dict[str, int]
    spent_ms: int
    until_ms: int
    is_settled: bool = False


_SETTLED = Reservation({}, 0, 0, is_settled=True)


class Reservations:
    """Reservations by subject and request id.

    Each is forgotten ``hold_ms`` after it was made or extended, one that is settled ``settled_ms`` after that, so that
    those of a busy hour do not pile up.
    """

    def __init__(self, hold_ms: int, settled_ms: int) -> None:
        if hold_ms < 1 or settled_ms < 0:
            raise ValueError(f"hold_ms is above 0 and settled_ms not below, not {hold_ms} and {settled_ms}")
        self.hold_ms, self.settled_ms = hold_ms, min(settled_ms, hold_ms)
        # In the order of their ends, but for a clock that was moved. The oldest of a plain dict is found by passing
        # over all that was deleted before it.
        self._held: OrderedDict[_Key, Reservation] = OrderedDict()
        self._settled: OrderedDict[_Key, int] = OrderedDict()

    @property
    def is_idle(self) -> bool:
        """Is nothing held that is not settled?"""
        return not self._held

    def find(self, subject: str, request_id: str, now_ms: int) -> Reservation | None:
        """What is held under the id, settled or not."""
        key = subject, request_id
        if self._held:
            self._forget_held(now_ms)
            if (found := self._held.get(key)) is not None:
                return found if found.until_ms > now_ms else None
        until_ms = self._settled.get(key)
        return _SETTLED if until_ms is not None and until_ms > now_ms else None

    def keep(self, subject: str, request_id: str, costs: dict[str, int], now_ms: int) -> None:
        """Hold these costs."""
        self._forget_settled(now_ms)
        self._held[subject, request_id] = Reservation(costs, now_ms, now_ms + self.hold_ms)

    def settle(self, subject: str, request_id: str, now_ms: int) -> None:
        """A reservation that there is is settled."""
        key = subject, request_id
        found = self._held.pop(key)
        self._settled[key] = min(now_ms + self.settled_ms, found.until_ms)

    def extend(self, subject: str, request_id: str, now_ms: int) -> None:
        """Hold a reservation that there is for as long again."""
        key = subject, request_id
        self._held[key].until_ms = now_ms + self.hold_ms
        self._held.move_to_end(key)

    def _forget_held(self, now_ms: int) -> None:
        while self._held:
            key, oldest = next(iter(self._held.items()))
            if now_ms < oldest.until_ms <= now_ms + self.hold_ms:
                return
            if oldest.until_ms <= now_ms:
                del self._held[key]
            else:  # the clock was moved back
                oldest.until_ms = now_ms + self.hold_ms

    def _forget_settled(self, now_ms: int) -> None:
        while self._settled:
            key, until_ms = next(iter(self._settled.items()))
            if now_ms < until_ms <= now_ms + 2 * self.settled_ms:
                return
            del self._settled[key]  # also where the clock was moved back by more than that, so that they end
