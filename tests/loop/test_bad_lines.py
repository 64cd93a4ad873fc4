"""Inputs from clean to wholly dirty: every line has one outcome, to the unit, in both engines."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from quotaloop.raw.ranges import Range
from quotaloop.raw.record import NO_TIME
from tests.events.bad_lines import CASES, NOT_QUARANTINED
from tests.loop.stores import REPOSITORY, Loop, assert_same

sys.path.insert(0, str(REPOSITORY / "data"))

from sample.stream import labelled

CONFLICT = "conflicting_duplicate"
TOPICS = ("clean", "a-hundredth", "a-fifth", "all", "every-row")
REFUSED = ("a-fifth", "all", "every-row")  # more of their lines are in quarantine than a release allows


@dataclass(frozen=True)
class Planted:
    """A topic's raw range, and how many of its lines must have which outcome or reason."""

    range: Range
    outcomes: Counter[str]

    @property
    def reasons(self) -> dict[str, int]:
        return {word: count for word, count in sorted(self.outcomes.items()) if word not in NOT_QUARANTINED}


@dataclass(frozen=True)
class Landed:
    """A store that was refused once, and what was planted in it."""

    loop: Loop
    planted: dict[str, Planted]
    refusal: tuple[int, str]


@pytest.fixture(scope="module")
def landed(engines: None, tmp_path_factory: pytest.TempPathFactory) -> Landed:  # noqa: ARG001
    """All inputs, each a topic of its own, built and audited; nothing is released, for no refusal is answered yet."""
    loop = Loop(tmp_path_factory.mktemp("bad-lines") / "store")
    planted = {topic: _generated(loop, topic, seed, dirt) for seed, topic, dirt in _GENERATED}
    planted["all"] = _cases(loop, "all", only_bad=True)
    planted["every-row"] = _cases(loop, "every-row", only_bad=False)
    said = loop.call("run")
    return Landed(loop, planted, (said.code, said.err))


@pytest.fixture(scope="module")
def released(landed: Landed, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """The same, released by somebody who allows any share of bad lines."""
    loop = landed.loop.copy(tmp_path_factory.mktemp("released") / "store", max_bad_share=1.0)
    assert loop.run().released
    return loop


def test_the_inputs_are_as_dirty_as_they_are_said_to_be(landed: Landed) -> None:
    lines = {topic: planted.outcomes for topic, planted in landed.planted.items()}
    dirty = {topic: 100 * (count.total() - count["accepted"]) / count.total() for topic, count in lines.items()}
    assert [dirty[topic] for topic in TOPICS[:4]] == [0, 1, 20, 100]
    assert landed.planted["every-row"].outcomes.keys() == {case.outcome for case in CASES}


@pytest.mark.parametrize("topic", TOPICS)
def test_the_ledger_counts_every_line_once_with_the_reason_planted(landed: Landed, released: Loop, topic: str) -> None:
    planted = landed.planted[topic]
    (row,) = (row for row in released.rows("ingest_ledger") if row["topic"] == topic)
    assert row["lines"] == row["end_offset"] - row["start_offset"] == planted.outcomes.total()
    assert row["lines"] == row["accepted"] + row["duplicate"] + row["late"] + row["quarantined"]
    assert {word: row[word] for word in NOT_QUARANTINED} == {word: planted.outcomes[word] for word in NOT_QUARANTINED}
    assert dict(row["reasons"]) == planted.reasons
    assert row["quarantined"] == sum(planted.reasons.values())


@pytest.mark.parametrize("topic", TOPICS)
def test_the_recount_counts_every_line_once_with_the_reason_planted(landed: Landed, released: Loop, topic: str) -> None:
    planted, recounted = landed.planted[topic], released.recounted()
    (lines,) = (row for row in recounted["lines"].to_pylist() if row["topic"] == topic)
    hours = [row for row in recounted["outcomes"].to_pylist() if row["topic"] == topic]
    events = {word: sum(row[word] for row in hours) for word in ("accepted", "duplicate", "conflicting")}
    assert lines["lines"] == sum(events.values()) + lines["late"] + sum(dict(lines["reasons"]).values())
    assert lines["lines"] == planted.outcomes.total()
    assert dict(lines["reasons"]) | _some(CONFLICT, events["conflicting"]) == planted.reasons
    assert {**events, "late": lines["late"]} == {
        "accepted": planted.outcomes["accepted"],
        "duplicate": planted.outcomes["duplicate"],
        "conflicting": planted.outcomes[CONFLICT],
        "late": planted.outcomes["late"],
    }


def test_tables_count_accepted_lines_alone(landed: Landed, released: Loop) -> None:
    accepted = sum(planted.outcomes["accepted"] for planted in landed.planted.values())
    assert sum(row["requests"] for row in released.rows("usage_hourly")) == accepted
    assert released.sql("SELECT count(*) FROM events") == [(accepted,)]


def test_the_quarantine_lists_every_bad_line_with_its_reason(landed: Landed, released: Loop) -> None:
    listing = released.call("quarantine", "list", "--json").json
    topic, reason = (listing["columns"].index(name) for name in ("topic", "reason"))
    found = Counter((row[topic], row[reason]) for row in listing["rows"])
    assert found == {
        (name, word): count for name, planted in landed.planted.items() for word, count in planted.reasons.items()
    }


def test_too_many_bad_lines_release_nothing_and_the_file_is_named(landed: Landed) -> None:
    code, error = landed.refusal
    assert code == 3
    first = landed.planted["a-fifth"]
    bad = sum(first.reasons.values())
    assert f"bad_share: {first.range}: {bad} of {first.outcomes.total()} lines are in quarantine" in error
    assert "and 2 more" in error
    assert "nothing was released" in error
    assert _visible(landed.loop) == []


def test_every_refusal_needs_an_answer_of_its_own(landed: Landed, released: Loop, tmp_path: Path) -> None:
    loop = landed.loop.copy(tmp_path / "store")
    for number, topic in enumerate(REFUSED):
        said = loop.call("run", "--json")
        assert said.code == 3, topic
        assert f"bad_share: {landed.planted[topic].range}: " in said.err
        assert _visible(loop) == [], topic
        where = str(landed.planted[topic].range)
        assert loop.call("audit", "waive", "bad_share", where, "--reason", f"known dirt {number}").code == 0
    assert loop.call("run", "--json").code == 0
    assert [path.split("/")[2] for path in loop.release().waivers] == sorted(REFUSED)
    assert_same(loop.tables(), released.tables())


_GENERATED = ((1, "clean", 0.0), (2, "a-hundredth", 0.01), (4, "a-fifth", 0.2))


def _generated(loop: Loop, topic: str, seed: int, dirt: float) -> Planted:
    made = list(labelled(1500, seed, 1, dirt))
    item = loop.land_records(topic, *((NO_TIME, line) for line, _ in made))
    return Planted(item, Counter(outcome for _, outcome in made))


def _cases(loop: Loop, topic: str, *, only_bad: bool) -> Planted:
    """Every kind of bad line; those that need another line to be bad, and those that are good, only if asked for."""
    chosen = [case for case in CASES if not only_bad or case.outcome not in (*NOT_QUARANTINED, CONFLICT)]
    item = loop.land_records(topic, *((case.kafka_time_ms, case.value) for case in chosen))
    return Planted(item, Counter(case.outcome for case in chosen))


def _some(word: str, count: int) -> dict[str, int]:
    return {word: count} if count else {}


def _visible(loop: Loop) -> list[str]:
    """What a reader could see."""
    return [info.path for info in loop.store.files("") if info.path.startswith(("CURRENT", "releases", "published"))]
