"""Publications: readers never see a mix, a rollback holds until it is resumed, and two runs end as one."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs import stages
from pipelines.in_process import run_stages
from pipelines.loop import TO_BUILD, TO_RELEASE
from quotaloop import faults
from quotaloop.marts.rollback import resume, roll_back
from tests.loop.stores import HOUR, Loop, assert_same, event

PATIENCE = 120  # seconds until a test that waits is given up
READS = 3  # whole reads at every step of a publication
RELEASES = 4


class Reader:
    """Reads ``CURRENT`` and then the whole of that release, over and over, with nothing of this project's code."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seen: list[tuple[int, int, int]] = []  # number, lines accepted by the ledger, requests in the usage table
        self.error: BaseException | None = None
        self._more = threading.Condition()
        self._stop = threading.Event()

    def read(self) -> tuple[int, int, int]:
        """One release, every one of its files checked against the manifests."""
        number = int((self.root / "CURRENT").read_text())
        release = json.loads((self.root / f"releases/{number:010d}.json").read_bytes())
        assert release["number"] == number
        ledger = self._rows(release["ledger"])
        requests = 0
        for date, digest in release["days"].items():
            data = (self.root / f"releases/days/{digest}.json").read_bytes()
            assert hashlib.sha256(data).hexdigest() == digest
            day = json.loads(data)
            assert day["date"] == date
            tables = {
                name: [row for entry in files for row in self._rows(entry)] for name, files in day["tables"].items()
            }
            requests += sum(row["requests"] for row in tables["usage_hourly"])
            assert sum(row["requests"] for row in tables["usage_daily"]) == sum(
                row["requests"] for row in tables["usage_hourly"]
            )
        return number, sum(row["accepted"] for row in ledger), requests

    def wait_for_reads(self, count: int) -> None:
        """Until so many more reads, each begun after now, have come to their end."""
        with self._more:
            wanted = len(self.seen) + 1 + count  # one may be on its way
            done = self._more.wait_for(lambda: self.error is not None or len(self.seen) >= wanted, PATIENCE)
        if self.error is not None:
            raise self.error
        assert done, "the reader stands still"

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read in a thread of its own for as long as the block lasts; raises what the reader met."""
        thread = threading.Thread(target=self._loop)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(PATIENCE)
        if self.error is not None:
            raise self.error

    def _loop(self) -> None:
        try:
            while not self._stop.is_set():
                found = self.read()
                with self._more:
                    self.seen.append(found)
                    self._more.notify_all()
        except BaseException as error:
            with self._more:
                self.error = error
                self._more.notify_all()

    def _rows(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        path = self.root / entry["path"]
        data = path.read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"]), path
        rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
        assert len(rows) == entry["rows"], path
        return rows


@pytest.fixture(scope="module")
def first(engines: None, tmp_path_factory: pytest.TempPathFactory) -> Loop:  # noqa: ARG001 - runs find them
    """Release 1 of one event."""
    loop = Loop(tmp_path_factory.mktemp("first") / "store")
    loop.land("t", event("e1", 0))
    assert loop.run().released
    return loop


def test_a_reader_never_sees_a_mix(first: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader gets through at every step of every publication, so it looks at each state there is."""
    loop = first.copy(tmp_path / "store")
    reader = Reader(loop.root)
    steps: list[tuple[str, int]] = []

    def pause(point: str) -> None:
        reader.wait_for_reads(READS)
        steps.append((point, reader.seen[-1][0]))

    with reader.reading():
        reader.wait_for_reads(READS)
        with monkeypatch.context() as patch:
            patch.setattr(faults, "reached", lambda point: pause(point) if point in _PUBLISHING else None)
            for number in range(2, RELEASES + 1):
                hours = [number, *[number % 3] * (number - 1)]  # a newer hour, for a policy, and older ones again
                loop.land("t", *(event(f"e{number}-{n}", hour * HOUR) for n, hour in enumerate(hours)))
                assert loop.run().released
            roll_back(loop.store, 2)
        reader.wait_for_reads(READS)
    events = {1: 1, 2: 3, 3: 6, 4: 10, 5: 3}
    assert set(reader.seen) == {(number, count, count) for number, count in events.items()}
    assert [number for number, _, _ in reader.seen] == sorted(number for number, _, _ in reader.seen)
    before_and_after = {"release:days": -1, "release:numbered": -1, "policy:numbered": 0, "policy:published": 0}
    published = [(point, number) for number in range(2, RELEASES + 1) for point in _PUBLISHING]
    published += [("release:numbered", 5), ("release:current", 5)]  # the rollback
    assert steps == [(point, number + before_and_after.get(point, 0)) for point, number in published]


_PUBLISHING = ("release:days", "release:numbered", "release:current", "policy:numbered", "policy:published")


def test_a_file_that_was_changed_is_seen_by_the_reader(first: Loop, tmp_path: Path) -> None:
    loop = first.copy(tmp_path / "store")
    path = loop.root / loop.files("usage_hourly")[0].path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AssertionError, match="usage_hourly"):
        Reader(loop.root).read()


def test_a_rollback_holds_until_it_is_resumed(first: Loop, tmp_path: Path) -> None:
    loop = first.copy(tmp_path / "store")
    tables = loop.tables()
    loop.land("t", event("e2", HOUR))
    assert loop.run().released
    rolled = loop.call("release", "rollback", "1", "--json")
    assert rolled.json == {"release": 3, "rolled_back_to": 1, "pinned": True}
    loop.check_whole()
    assert_same(loop.tables(), tables)

    loop.land("t", event("e3", 2 * HOUR))
    before = _released(loop)
    pinned = loop.call("run", "--json")
    assert pinned.code == 0
    assert (pinned.json["release"], pinned.json["released"], pinned.json["pinned"]) == (3, False, True)
    assert _released(loop) == before
    assert loop.work().unparsed == []  # it landed and parsed, and went no further
    assert loop.call("release").code == 2

    assert loop.call("release", "resume", "--json").json == {"resumed": 3}
    done = loop.run()
    assert (done.released, loop.release().number, loop.release().parent) == (True, 4, 3)
    assert loop.sql("SELECT event_id FROM events ORDER BY 1") == [("e1",), ("e2",), ("e3",)]
    assert loop.call("release", "resume", "--json").json == {"resumed": None}
    assert_same(loop.tables(), _at_once(loop, tmp_path / "at once").tables())


def test_a_rollback_to_a_release_that_is_not_there_changes_nothing(first: Loop, tmp_path: Path) -> None:
    loop = first.copy(tmp_path / "store")
    before = loop.bytes()
    assert loop.call("release", "rollback", "7").code == 2
    assert resume(loop.store) is None
    assert loop.bytes() == before


def test_of_two_runs_over_the_same_lines_one_takes_the_number_and_the_other_finds_it_taken(
    first: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = first.copy(tmp_path / "store", lease=0)
    loop.land("t", event("e2", HOUR))
    inner: list[bool] = []
    _before_the_first_release(monkeypatch, lambda: inner.append(loop.run().released))
    outer = loop.run()
    assert (inner, outer.released) == ([True], False)
    assert outer.release is not None
    assert (outer.release.number, loop.release().number) == (2, 2)
    loop.check_whole()
    assert loop.sql("SELECT count(*) FROM events") == [(2,)]


def test_a_run_that_was_overtaken_by_one_with_fewer_lines_goes_on_from_its_release(
    first: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = first.copy(tmp_path / "store")
    loop.land("t", event("e2", HOUR))
    early = loop.work()
    run_stages(early, (*TO_BUILD, *TO_RELEASE[:-1]))
    loop.land("t", event("e3", HOUR))
    _before_the_first_release(monkeypatch, partial(run_stages, early, ("release",)))
    done = loop.run()
    release = loop.release()
    assert (done.released, release.number, release.parent) == (True, 3, 2)
    loop.check_whole()
    assert_same(loop.tables(), _at_once(loop, tmp_path / "at once").tables())


def _before_the_first_release(monkeypatch: pytest.MonkeyPatch, do: Any) -> None:
    """Let something else happen when a run has audited its build and is about to release it."""
    release = stages.release

    def late(work: Any) -> Any:
        monkeypatch.setattr(stages, "release", release)
        do()
        return release(work)

    monkeypatch.setattr(stages, "release", late)


def _at_once(loop: Loop, root: Path) -> Loop:
    """The raw of a store, run from nothing."""
    again = Loop(root)
    for info in loop.store.files("raw"):
        again.store.write_if_absent(info.path, loop.store.read(info.path))
    assert again.run().released
    return again


def _released(loop: Loop) -> dict[str, str]:
    """What a run publishes."""
    folders = ("CURRENT", "releases/", "marts/", "policies/", "published/")
    return {path: digest for path, digest in loop.bytes().items() if path.startswith(folders)}
