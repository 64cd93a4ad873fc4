"""What requests have reserved, for as long as it is held."""

from __future__ import annotations

from dataclasses import dataclass

_Key = tuple[str, str]  # subject, request id


@dataclass(slots=True)
class Reservation:
    """What a request has spent by key, when, and until when that is remembered (epoch ms)."""

    costs: dict[str, int]
    spent_ms: int
    until_ms: int
    is_settled: bool = False


class Reservations:
    """Reservations by subject and request id; each is forgotten ``hold_ms`` after it was made or extended."""

    def __init__(self, hold_ms: int) -> None:
        if hold_ms < 1:
            raise ValueError(f"hold_ms is above 0, not {hold_ms}")
        self.hold_ms = hold_ms
        self._held: dict[_Key, Reservation] = {}  # in the order of their ends, but for a clock that was moved

    def __len__(self) -> int:
        return len(self._held)

    def find(self, subject: str, request_id: str, now_ms: int) -> Reservation | None:
        """What is held under the id, settled or not."""
        while self._held:
            oldest = next(iter(self._held))
            if now_ms < self._held[oldest].until_ms <= now_ms + self.hold_ms:
                break
            if self._held[oldest].until_ms <= now_ms:
                del self._held[oldest]
            else:  # the clock was moved back
                self._held[oldest].until_ms = now_ms + self.hold_ms
        found = self._held.get((subject, request_id))
        return found if found is not None and found.until_ms > now_ms else None

    def keep(self, subject: str, request_id: str, costs: dict[str, int], now_ms: int) -> None:
        """Hold these costs."""
        self._held[subject, request_id] = Reservation(costs, now_ms, now_ms + self.hold_ms)

    def extend(self, subject: str, request_id: str, now_ms: int) -> None:
        """Hold a reservation that there is for as long again."""
        found = self._held.pop((subject, request_id))
        found.until_ms = now_ms + self.hold_ms
        self._held[subject, request_id] = found
