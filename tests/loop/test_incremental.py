"""Incremental equals from nothing: however raw arrives, and however many runs there are, the tables are the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from quotaloop.raw.record import NO_TIME
from tests.loop.stores import DAY, HOUR, MINUTE, REPOSITORY, Event, Loop, assert_same_release, event, shuffled

sys.path.insert(0, str(REPOSITORY / "data"))

from sample.stream import generate

PIECES = 7


def pieces() -> list[list[bytes]]:
    """An evening and a morning in seven, cut within hours; each piece has some lines of the one before it again."""
    lines = list(generate(lines=6_000, seed=11, days=2, dirt=0.05))[2_600:3_300]
    size = len(lines) // PIECES
    cut = [lines[size * number : size * (number + 1)] for number in range(PIECES)]
    return [own + before[::10] for own, before in zip(cut, [[], *cut[:-1]], strict=True)]


def test_pieces_in_any_order_with_a_run_after_each_end_in_the_tables_of_one_run(
    engines: None,  # noqa: ARG001 - runs find them
    tmp_path: Path,
) -> None:
    landed = {f"piece-{number}": lines for number, lines in enumerate(pieces())}
    whole, bit_by_bit = Loop(tmp_path / "whole"), Loop(tmp_path / "bit by bit")
    for topic, lines in landed.items():
        whole.land_records(topic, *((NO_TIME, line) for line in lines))
    assert whole.run().released
    order = shuffled(landed, seed=3)
    assert order != sorted(order)
    for number, topic in enumerate(order, start=1):
        bit_by_bit.land_records(topic, *((NO_TIME, line) for line in landed[topic]))
        done = bit_by_bit.run()
        assert (done.released, done.release and done.release.number) == (True, number)
        bit_by_bit.check_whole()
    assert_same_release(bit_by_bit, whole)
    assert whole.ledger()["duplicate"] > 50
    assert len(whole.release().days) == 2
    assert whole.sql("SELECT count(DISTINCT (host, boot)), sum(missing) > 0 FROM completeness_hourly") == [(3, True)]


@pytest.mark.parametrize("order", [("early", "a-late"), ("a-late", "early")], ids=["late last", "late first"])
def test_a_late_piece_between_old_stamps_and_over_midnight_ends_in_the_tables_of_one_run(
    engines: None,  # noqa: ARG001
    tmp_path_factory: pytest.TempPathFactory,
    order: tuple[str, str],
    together: Loop,
) -> None:
    loop = Loop(tmp_path_factory.mktemp("apart") / "store")
    for topic in order:
        loop.land(topic, *_BETWEEN[topic])
        assert loop.run().released
        assert _stamps(loop) == _STAMPS[topic if topic == order[0] else "both"]
    assert_same_release(loop, together)


@pytest.fixture(scope="module")
def together(engines: None, tmp_path_factory: pytest.TempPathFactory) -> Loop:  # noqa: ARG001
    """Both pieces in one run, with the numbers worked out by hand."""
    loop = Loop(tmp_path_factory.mktemp("together") / "store")
    for topic, events in sorted(_BETWEEN.items()):
        loop.land(topic, *events)
    assert loop.run().released
    assert _stamps(loop) == _STAMPS["both"]
    in_flight = "SELECT epoch_ms(hour), admitted FROM rate_limit_usage WHERE kind = 'concurrency' ORDER BY 1"
    assert [(_hour(hour), most) for hour, most in loop.sql(in_flight)] == [(22, 1), (23, 3), (24, 3), (25, 4), (26, 2)]
    return loop


def test_late_data_inside_the_bound_restates_the_hours_it_touches_and_leaves_all_other_files(loop: Loop) -> None:
    hours = [0, 1, 2, 3, 4, 5, 30]
    for seq, hour in ((1, 0), (2, 1), (4, 4), (5, 5), (6, 30)):
        stamp = {"host": "h", "boot": "b", "seq": seq}
        loop.land("live", event(f"e{hour}", hour * HOUR, **stamp), at=DAY + hour * HOUR + MINUTE)
    for hour in (2, 3):
        loop.land("live", event(f"e{hour}", hour * HOUR), at=DAY + hour * HOUR + MINUTE)
    assert loop.run().released
    before, written = _files(loop), _written(loop)
    late = event("late", 2 * HOUR + MINUTE, duration_ms=HOUR, host="h", boot="b", seq=3)
    too_late = event("too-late", -47 * HOUR)
    loop.land("live", late, too_late, at=DAY + 2 * HOUR)
    assert loop.run().released
    assert loop.ledger() == {"lines": 9, "accepted": 8, "duplicate": 0, "late": 1, "quarantined": 0}
    assert {name: _changed(before[name], found) for name, found in _files(loop).items()} == {
        **{name: {2} for name in ("usage_hourly", "latency_hourly", "latency_summary", "demand_minutely")},
        "rate_limit_usage": {2, 3},  # the request is in flight in both
        "completeness_hourly": {1, 2},  # the hole it fills was after the stamp of hour 1
    }
    assert written.items() <= _written(loop).items()
    assert loop.hours("twice") == hours
    usage = "SELECT epoch_ms(hour), requests FROM usage_hourly ORDER BY 1"
    assert [(_hour(hour), requests) for hour, requests in loop.sql(usage)] == [
        (hour, 2 if hour == 2 else 1) for hour in hours
    ]


def _stamped(seq: int, ts: int, **fields: object) -> Event:
    return event(f"b{seq}", ts, host="h", boot="b", seq=seq, **fields)


_LONG = 2 * HOUR + 30 * MINUTE
_BETWEEN: dict[str, list[Event]] = {
    "early": [
        event("g1", 22 * HOUR, host="g", boot="b", seq=1),
        *(_stamped(seq, 22 * HOUR + 10 * MINUTE * seq) for seq in (1, 2, 3)),
        *(_stamped(seq, 23 * HOUR + 5 * MINUTE * seq) for seq in (5, 8)),
        *(_stamped(seq, 24 * HOUR + MINUTE * seq) for seq in (10, 11)),
        event("f", 26 * HOUR + MINUTE),
    ],
    "a-late": [  # its topic comes first: of what both have, this one is accepted
        _stamped(4, 23 * HOUR + 20 * MINUTE, duration_ms=_LONG + HOUR),
        _stamped(5, 23 * HOUR + 25 * MINUTE),
        _stamped(6, 23 * HOUR + 30 * MINUTE, duration_ms=_LONG),
        _stamped(9, 24 * HOUR + 9 * MINUTE),
        event("g2", 25 * HOUR, host="g", boot="c", seq=1, prev_boot="b", prev_seq=3),
        event("e", 25 * HOUR),
    ],
}
# hour, host, boot: first, last, expected, received, missing, duplicates
_STAMPS = {
    "early": [
        (22, "g", "b", 1, 1, 1, 1, 0, 0),
        (22, "h", "b", 1, 3, 4, 3, 1, 0),  # 4
        (23, "h", "b", 5, 8, 5, 2, 3, 0),  # 6, 7 and 9
        (24, "h", "b", 10, 11, 2, 2, 0, 0),
    ],
    "a-late": [
        (23, "h", "b", 4, 6, 8, 3, 5, 0),  # 1, 2, 3 before the first; 7 and 8
        (24, "h", "b", 9, 9, 1, 1, 0, 0),
        (25, "g", "c", 1, 1, 1, 1, 0, 0),  # there is no event of its boot before, in whose hour 1 to 3 would lack
    ],
    "both": [
        (22, "g", "b", 1, 1, 3, 1, 2, 0),  # 2 and 3
        (22, "h", "b", 1, 3, 3, 3, 0, 0),
        (23, "h", "b", 4, 8, 5, 4, 1, 0),  # 7
        (24, "h", "b", 9, 11, 3, 3, 0, 0),
        (25, "g", "c", 1, 1, 1, 1, 0, 0),
    ],
}


def _stamps(loop: Loop) -> list[tuple[object, ...]]:
    columns = "first_seq, last_seq, expected, received, missing, duplicates"
    rows = loop.sql(f"SELECT epoch_ms(hour), host, boot, {columns} FROM completeness_hourly ORDER BY 1, 2")
    return [(_hour(hour), *rest) for hour, *rest in rows]


def _hour(epoch_ms: int) -> int:
    return (epoch_ms - DAY) // HOUR


HOURLY = (
    *("usage_hourly", "latency_hourly", "latency_summary", "demand_minutely"),
    *("rate_limit_usage", "completeness_hourly"),
)


def _files(loop: Loop) -> dict[str, dict[int, list[tuple[str, str]]]]:
    """Path and SHA-256 of the files of every hourly table, by hour."""
    found: dict[str, dict[int, list[tuple[str, str]]]] = {name: {} for name in HOURLY}
    for name in HOURLY:
        for entry in loop.files(name):
            for hour in entry.hours:
                found[name].setdefault(_hour(hour), []).append((entry.path, entry.sha256))
    return found


def _written(loop: Loop) -> dict[str, str]:
    """What is never changed once it is written."""
    folders = ("raw/", "parsed/", "marts/", "releases/")
    return {path: digest for path, digest in loop.bytes().items() if path.startswith(folders)}


def _changed(before: dict[int, list[tuple[str, str]]], after: dict[int, list[tuple[str, str]]]) -> set[int]:
    return {hour for hour in before.keys() | after.keys() if before.get(hour) != after.get(hour)}
