"""A lease keeps a second run from doing the same work, and outlives nobody."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from quotaloop.storage.lease import Taken, lease
from quotaloop.storage.local import LocalStore

LONG = 600_000
SOON_S = 30.0


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def held(store: LocalStore) -> list[str]:
    return [info.path for info in store.files("leases")]


def left_by(store: LocalStore, number: int = 1, **changed: object) -> None:
    """A lease of somebody on another machine."""
    there = {"host": "elsewhere", "pid": 7, "began": "99", "until_ms": 2_000_000} | changed
    store.write_if_absent(f"leases/run/{number:010d}.json", json.dumps(there).encode())


def test_who_comes_second_is_told_who_is_at_work(store: LocalStore) -> None:
    with lease(store, "run", length_ms=LONG):
        with pytest.raises(Taken, match=f"process {os.getpid()} on ") as taken, lease(store, "run", length_ms=LONG):
            pass
        assert taken.value.holder.pid == os.getpid()


def test_leases_of_other_names_and_stores_are_others(store: LocalStore, tmp_path: Path) -> None:
    with ExitStack() as stack:
        for other, name in ((store, "run"), (store, "x"), (LocalStore(tmp_path / "b"), "run")):
            stack.enter_context(lease(other, name, length_ms=LONG))


def test_nothing_is_left_behind(store: LocalStore) -> None:
    for _ in range(2):
        with lease(store, "run", length_ms=LONG):
            assert held(store) == ["leases/run/0000000001.json"]
    assert held(store) == []


def test_it_ends_with_work_that_fails(store: LocalStore) -> None:
    def work() -> None:
        with lease(store, "run", length_ms=LONG):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert held(store) == []


def test_a_holder_elsewhere_is_waited_for_until_its_end_and_no_longer(store: LocalStore) -> None:
    left_by(store)
    with pytest.raises(Taken), lease(store, "run", length_ms=LONG, clock=lambda: 1_999.9):
        pass
    with lease(store, "run", length_ms=LONG, clock=lambda: 2_000.0):
        assert held(store)[-1] == "leases/run/0000000002.json"
    assert held(store) == []


def test_a_process_of_this_machine_that_was_killed_is_not_waited_for(store: LocalStore) -> None:
    program = """
        import os, signal, sys
        from pathlib import Path
        from quotaloop.storage.lease import lease
        from quotaloop.storage.local import LocalStore
        with lease(LocalStore(Path(sys.argv[1])), "run", length_ms=600_000):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    lines = [line[8:] for line in program.splitlines()]
    subprocess.run([sys.executable, "-c", "\n".join(lines), str(store.root)], check=False)
    assert held(store) == ["leases/run/0000000001.json"]
    with lease(store, "run", length_ms=LONG):
        assert len(held(store)) == 2
    assert held(store) == []


def test_it_is_renewed_as_long_as_the_work_lasts(store: LocalStore) -> None:
    times = iter(range(1_000, 10_000))
    with lease(store, "run", length_ms=30, clock=lambda: float(next(times))):
        ends = set()
        deadline = time.monotonic() + SOON_S
        while len(ends) < 4:
            assert time.monotonic() < deadline
            ends.add(json.loads(store.read("leases/run/0000000001.json"))["until_ms"])
    assert held(store) == []


class Full(LocalStore):
    """A store on a disk that is full for the first replacements, and from which nothing can be removed."""

    refused = 0

    def replace(self, path: str, data: bytes) -> None:
        if self.refused < 3:
            self.refused += 1
            raise OSError(errno.ENOSPC, "No space left on device", path)
        super().replace(path, data)

    def delete(self, path: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system", path)


def test_it_is_renewed_once_there_is_room_again_and_work_does_not_fail_for_it(tmp_path: Path) -> None:
    store = Full(tmp_path)
    with lease(store, "run", length_ms=30):
        first = store.read("leases/run/0000000001.json")
        deadline = time.monotonic() + SOON_S
        while store.read("leases/run/0000000001.json") == first:
            assert time.monotonic() < deadline
    assert store.refused == 3


def test_who_slept_past_the_end_and_wakes_leaves_the_lease_of_another_alone(store: LocalStore) -> None:
    with lease(store, "run", length_ms=LONG):
        store.delete("leases/run/0000000001.json")
        left_by(store)
    assert json.loads(store.read("leases/run/0000000001.json"))["host"] == "elsewhere"
