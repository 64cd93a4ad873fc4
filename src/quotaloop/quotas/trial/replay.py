"""Attempts once more, through the algorithms of a limiter: which would have passed, at compiled speed.

How counts change with time is said by the functions of ``quotaloop.limiter`` themselves, compiled; what else decides is
checked decision by decision against its stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
import numpy.typing as npt
from numba import njit

from quotaloop.limiter.fixed_window import rolled
from quotaloop.limiter.rule import EXACT, check_numbers
from quotaloop.limiter.sliding_window import slid
from quotaloop.limiter.token_bucket import drained
from quotaloop.quotas.target import ALGORITHMS, Algorithm, Manner

Longs = npt.NDArray[np.int64]
PASSED, NOT_SENT = -1, -2

_PLAIN = Manner()
_BUCKET, _FIXED, _FIRST, _SLIDING, _LOG, _SLOTS = range(len(ALGORITHMS))
_drained, _rolled, _slid = njit(drained), njit(rolled), njit(slid)


@dataclass(frozen=True, slots=True)
class Counter:
    """One limit as a target counts it: ``limit`` units in ``period_ms``; of ``concurrency``, slots.

    ``window_from_first``: a window begins with the first request after the one before has ended. ``after``: a cost is
    charged when the response has ended, and a request passes while less than the limit is spent.
    """

    algorithm: Algorithm
    limit: int
    period_ms: int
    burst: int
    after: bool = False

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm {self.algorithm!r} is none of {', '.join(ALGORITHMS)}")
        if self.limit:
            check_numbers(self.limit, self.period_ms, self.burst)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Attempts of one subject, by time: arrival and end (epoch ms), and a row of costs a counter (-1: not asked).

    ``chain``: a number below ``len(arrived_ms)`` for the attempts that repeat one another, -1 for one alone;
    ``was_denied``: refused when it happened.
    """

    arrived_ms: Longs
    ended_ms: Longs
    costs: Longs
    chain: Longs
    was_denied: npt.NDArray[np.bool_]


def replay(attempts: Attempts, counters: Sequence[Counter], manner: Manner = _PLAIN) -> Longs:
    """For each attempt ``PASSED``, ``NOT_SENT``, or the place of the first counter that refuses it.

    An attempt is not sent if one of its chain passes here that was denied then: it was only made because of that.
    Raises ``ValueError`` where attempts are not in order of time.
    """
    if np.any(np.diff(attempts.arrived_ms) < 0):
        raise ValueError("attempts are in the order of their arrival")
    numbers = np.array(
        [(ALGORITHMS.index(one.algorithm), one.limit, one.period_ms, one.burst, one.after) for one in counters],
        dtype=np.int64,
    ).reshape(len(counters), 5)
    if attempts.costs.shape != (len(counters), len(attempts.arrived_ms)):
        raise ValueError("costs are a row a counter, of one number an attempt")
    above_any_limit = EXACT // np.maximum(numbers[:, 2:3], 1) + 1  # and no product of it wraps around
    costs = np.minimum(attempts.costs, above_any_limit)
    answer: Longs = _replayed(
        attempts.arrived_ms,
        np.maximum(attempts.ended_ms, attempts.arrived_ms + 1),
        costs,
        attempts.chain,
        attempts.was_denied,
        numbers,
        manner.together,
        manner.counts_refused,
        manner.replicas,
    )
    return answer


@njit
def _forward(rule: Longs, state: Longs, log_times: Longs, log_costs: Longs, now: int) -> None:
    """The state of one counter at a time, in place."""
    algorithm, limit, period = rule[0], rule[1], rule[2]
    if algorithm == _BUCKET:
        state[0], state[1] = _drained(state[0], state[1], now, limit, period)
    elif algorithm == _FIXED:
        state[0], state[1] = _rolled(state[0], state[1], now, period)
    elif algorithm == _FIRST:
        if now - state[1] >= period:
            state[0] = 0
    elif algorithm == _SLIDING:
        state[0], state[1], state[2] = _slid(state[0], state[1], state[2], now, period)
    elif algorithm == _LOG:
        while state[1] < state[2] and log_times[state[1]] <= now - period:
            state[0] -= log_costs[state[1]]
            state[1] += 1


@njit
def _fits(rule: Longs, state: Longs, cost: int) -> bool:
    """May it be spent? ``state`` is of the time."""
    algorithm, limit, period = rule[0], rule[1], rule[2]
    if algorithm == _BUCKET:
        return bool(state[0] + cost * period <= rule[3] * period)
    if algorithm == _SLIDING:
        return bool((limit - state[0] - cost) * period >= state[1] * (period - state[2] % period))
    return bool(state[0] + cost <= limit)


@njit
def _charge(rule: Longs, state: Longs, log_times: Longs, log_costs: Longs, cost: int, now: int) -> None:
    """Spend it, whether it fits or not."""
    algorithm, period = rule[0], rule[2]
    if algorithm == _BUCKET:
        state[0] = min(state[0] + cost * period, EXACT)
    elif algorithm == _SLIDING:
        state[0] = min(state[0] + cost, EXACT // period)
    else:
        state[0] = min(state[0] + cost, EXACT)
    if algorithm == _FIRST and now - state[1] >= period:
        state[1] = now
    elif algorithm == _LOG:
        log_times[state[2]], log_costs[state[2]] = now, cost
        state[2] += 1


@njit
def _replayed(
    arrived: Longs,
    ended: Longs,
    costs: Longs,
    chain: Longs,
    was_denied: npt.NDArray[np.bool_],
    rules: Longs,
    together: bool,
    counts_refused: bool,
    replicas: int,
) -> Longs:
    counters, count = costs.shape
    states = np.zeros((replicas, counters, 3), np.int64)
    logged, needs_ends = 0, False
    for place in range(counters):
        logged = max(logged, count if rules[place, 0] == _LOG else 0)
        needs_ends = needs_ends or rules[place, 0] == _SLOTS or rules[place, 4] != 0
    log_times = np.empty((replicas, counters, logged), np.int64)
    log_costs = np.empty((replicas, counters, logged), np.int64)
    answers = np.empty(count, np.int64)
    is_served = np.zeros(count, np.bool_)
    in_flight = [(np.int64(0), np.int64(0), np.int64(0))]
    in_flight.pop()
    sent = 0
    for attempt in range(count):
        now = arrived[attempt]
        while in_flight and in_flight[0][0] <= now:
            end, other, holder = heappop(in_flight)
            for place in range(counters):
                rule, state = rules[place], states[holder, place]
                times, amounts = log_times[holder, place], log_costs[holder, place]
                if costs[place, other] < 0:
                    continue
                if rule[0] == _SLOTS:
                    state[0] -= costs[place, other]
                elif rule[4] and rule[1] > 0:
                    _forward(rule, state, times, amounts, end)
                    _charge(rule, state, times, amounts, costs[place, other], end)
        if chain[attempt] >= 0 and is_served[chain[attempt]]:
            answers[attempt] = NOT_SENT
            continue
        instance = sent % replicas
        sent += 1
        refused = PASSED
        for place in range(counters):
            rule, state, cost = rules[place], states[instance, place], costs[place, attempt]
            if cost < 0:
                continue
            if rule[1] > 0:
                _forward(rule, state, log_times[instance, place], log_costs[instance, place], now)
            asked = 1 if rule[4] else cost
            fits = asked == 0 or (rule[1] > 0 and _fits(rule, state, asked))
            if not fits and refused == PASSED:
                refused = place
            if not together and not rule[4] and rule[0] != _SLOTS and (fits or counts_refused):
                _charge(rule, state, log_times[instance, place], log_costs[instance, place], cost, now)
        answers[attempt] = refused
        if refused != PASSED:
            continue
        for place in range(counters):
            rule, state, cost = rules[place], states[instance, place], costs[place, attempt]
            if cost >= 0 and (rule[0] == _SLOTS or (together and not rule[4])):
                _charge(rule, state, log_times[instance, place], log_costs[instance, place], cost, now)
        if needs_ends:
            heappush(in_flight, (ended[attempt], np.int64(attempt), np.int64(instance)))
        if was_denied[attempt] and chain[attempt] >= 0:
            is_served[chain[attempt]] = True
    return answers
