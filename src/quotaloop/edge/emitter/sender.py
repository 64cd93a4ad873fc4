"""The one thread that brings segments from the spool to the outlet, and goes on with what others have left."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from quotaloop.edge.emitter.lane import Lane, left_lanes
from quotaloop.edge.emitter.outlet import Outlet
from quotaloop.edge.emitter.segment import Segment
from quotaloop.edge.emitter.spool import Bounds, Spool
from quotaloop.edge.emitter.throttled_warnings import ThrottledWarnings
from quotaloop.errors import QuotaloopError

_PAUSE_S = 0.005  # between two turns: what is written meanwhile goes in one
_AGAIN_S = 2.0  # between two tries to start the thread
_SETBACK_S = (0.1, 10.0)  # first and longest wait after an outlet failed
_LOG = logging.getLogger(__name__)


class Sender:
    """Runs from ``start`` to ``stop``; ``is_idle`` says that it wants to be woken by what is written.

    ``is_down`` says that it is to be started (again): it was not yet, could not be, or came to a sudden end.

    Lanes that nobody holds any more are looked for every ``adopt_s``, the first time after as long: processes that are
    started together find their own lanes first. ``left`` is called after each turn with what of the spool has left.
    """

    def __init__(
        self, spool: Spool, outlet: Outlet, lanes: Path, bounds: Bounds, left: Callable[[list[Segment]], None]
    ) -> None:
        self.is_idle, self.is_down = False, True
        self._spool, self._outlet, self._lanes, self._left = spool, outlet, lanes, left
        self._adopt_s, self._adopt_at_s = bounds.adopt_s, time.monotonic() + bounds.adopt_s
        self._adopted: list[tuple[Lane, list[Segment]]] = []
        self._setback_s = 0.0
        self._woken, self._hurried, self._stopping = threading.Event(), threading.Event(), threading.Event()
        self._progress = threading.Condition()
        self._warnings = ThrottledWarnings(__name__)
        self._thread: threading.Thread | None = None
        self._start_at_s = 0.0
        spool.turned = self.wake

    def start(self) -> None:
        """Begin with what lies there; where no thread can be started, that is said, and tried after a while."""
        now_s = time.monotonic()
        if now_s < self._start_at_s:
            return
        self._start_at_s, self.is_down = now_s + _AGAIN_S, False
        thread = threading.Thread(target=self._run, name="quotaloop-emitter", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self.is_down = True
            self._warnings.say(f"events stay in the spool: {error}")
        else:
            self._thread = thread

    def wake(self) -> None:
        """There is something to do."""
        self.is_idle = False
        self._woken.set()

    def wait_until_left(self, segments: list[Segment], timeout_s: float) -> bool:
        """Have all of these left? Does not sit out the pause after a setback."""
        self._hurried.set()
        self.wake()
        with self._progress:
            return self._progress.wait_for(lambda: all(segment.has_left for segment in segments), timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """End the thread; False where it has not ended in time."""
        self._stopping.set()
        self._hurried.set()
        self.wake()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """In a child of the process that runs it: leave the lanes it took to that."""
        for lane, _ in self._adopted:
            lane.abandon()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._woken.clear()
                self.is_idle = True  # from here on: what is written while this turn looks around asks for another
                wait_s = self._turn()
                self._woken.wait(wait_s)
                self._stopping.wait(_PAUSE_S)
        finally:
            self.is_down = True
        self._outlet.close()
        for lane, _ in self._adopted:
            lane.close()

    def _turn(self) -> float:
        """Seconds until the next, unless somebody wakes it before."""
        try:
            due_s = self._spool.close_old()
            self._adopt()
            if self._sends():
                return 0.0
        except (OSError, QuotaloopError) as error:
            self._warnings.say(f"events stay in the spool: {error}")
            return self._set_back()
        except Exception:  # a bug; but without this thread the spool would fill up
            _LOG.exception("events stay in the spool")
            return self._set_back()
        adopt_s = max(0.0, self._adopt_at_s - time.monotonic())
        return adopt_s if due_s is None else min(adopt_s, due_s)

    def _sends(self) -> bool:
        try:
            return self._outlet.send([*self._spool.waiting(), *self._others()])
        finally:
            self._tidy()

    def _set_back(self) -> float:
        first_s, longest_s = _SETBACK_S
        self._setback_s = min(longest_s, max(first_s, 2 * self._setback_s))
        self._hurried.wait(self._setback_s)
        self._hurried.clear()
        return 0.0

    def _tidy(self) -> None:
        left = self._spool.forget_left()
        self._left(left)
        done = [item for item in self._adopted if all(segment.has_left for segment in item[1])]
        for item in done:
            self._adopted.remove(item)
            item[0].close()
        if left or done:
            self._setback_s = 0.0
            with self._progress:
                self._progress.notify_all()

    def _others(self) -> list[Segment]:
        return [segment for _, segments in self._adopted for segment in segments if not segment.has_left]

    def _adopt(self) -> None:
        if time.monotonic() < self._adopt_at_s:
            return
        self._adopt_at_s = time.monotonic() + self._adopt_s
        for lane in left_lanes(self._lanes):
            try:
                self._adopted.append((lane, lane.leftovers(self._spool.host)))
            except OSError:
                lane.close()
                raise
