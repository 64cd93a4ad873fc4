"""``kill -9`` at each named point of the commit sequence, and a restart: as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from quotaloop import faults
from tests.loop.stores import EXAMPLE, Loop, assert_same

LANDING = tuple(point for point in faults.POINTS if point.startswith("import:"))
PARSING = tuple(point for point in faults.POINTS if point.startswith("parse:"))  # in a worker of Spark
FEEDBACK = tuple(point for point in faults.POINTS if point.startswith("policy:"))
ON_THE_WAY = ("build:files", "recount:done", "audit:done", "release:days", "release:numbered")
LAND = ("land", "files", str(EXAMPLE / "events.jsonl"), "--topic", "example")
SECONDS = 240  # after these a process hangs


@dataclass(frozen=True)
class Ended:
    """How a process ended, and the store as it left it."""

    code: int
    err: str
    store: Loop


def kill(loop: Loop, point: str, kept: Path, *command: str) -> Ended:
    """Run a command in processes of its own that end at ``point``; return when none of them is left."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUOTALOOP_")}
    environment |= {
        "QUOTALOOP_KILL_AT": point,
        "QUOTALOOP_STORE": loop.store.url,
        "QUOTALOOP_SPARK_MASTER": "local[2]",
        "QUOTALOOP_SPARK_MEMORY": "1g",
        "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    call = [sys.executable, "-c", "from quotaloop.cli import main; main()", *command]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        call, env=environment, cwd=kept.parent, stderr=pipe, stdout=pipe, start_new_session=True
    ) as it:
        try:
            _, err = it.communicate(timeout=SECONDS)  # ends when the last process has closed its end
        finally:
            with suppress(ProcessLookupError):
                os.killpg(it.pid, signal.SIGKILL)
    return Ended(it.returncode, err.decode("utf-8", "replace"), loop.copy(kept))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """One store whose processes are killed at one point after the other, and what each left behind.

    Each goes on from where the one before was killed; ``release:current`` from where ``release:numbered`` does.
    """
    folder = tmp_path_factory.mktemp("killed")
    loop = Loop(folder / "a store")
    loop.root.mkdir()

    def of(points: tuple[str, ...], store: Loop, *command: str) -> Iterator[tuple[str, Ended]]:
        for point in points:
            yield point, kill(store, point, folder / point.replace(":", "-"), *command)

    found = dict(of(LANDING, loop, *LAND))
    found |= of((*PARSING, *ON_THE_WAY), loop, "run")
    found |= of(("release:current",), found["release:days"].store.copy(folder / "another"), "run")
    found |= of(FEEDBACK, loop, "run")
    return found


@pytest.fixture(scope="module")
def undisturbed(engines: None, tmp_path_factory: pytest.TempPathFactory) -> Loop:  # noqa: ARG001 - runs find them
    """The same lines, landed and run with nobody killed."""
    loop = Loop(tmp_path_factory.mktemp("undisturbed") / "store")
    loop.land_file(EXAMPLE / "events.jsonl", "example")
    assert loop.run().released
    return loop


def test_every_point_is_tried(killed: dict[str, Ended]) -> None:
    assert sorted(killed) == sorted(faults.POINTS)


@pytest.mark.parametrize("point", [point for point in faults.POINTS if point not in PARSING])
def test_the_process_was_killed_there(killed: dict[str, Ended], point: str) -> None:
    assert killed[point].code == -signal.SIGKILL, killed[point].err


@pytest.mark.parametrize("point", PARSING)
def test_a_killed_worker_of_spark_ends_the_run(killed: dict[str, Ended], point: str) -> None:
    assert killed[point].code == 1
    assert "Python worker exited unexpectedly" in killed[point].err.splitlines()[-1]


@pytest.mark.parametrize("point", faults.POINTS)
def test_what_was_left_behind_is_that_point_and_nothing_further(killed: dict[str, Ended], point: str) -> None:
    there = {info.path.split("/")[0] for info in killed[point].store.store.files("")}
    store, place = killed[point].store, faults.POINTS.index(point)
    kinds = {path.rpartition(".")[2] for path in store.bytes() if path.startswith("parsed/")}
    steps = {
        "import:claimed": any(path.endswith(".claim") for path in store.bytes()),
        "import:recorded": any("/_imports/" in path for path in store.bytes()),
        "import:range": any(path.endswith(".jsonl.gz") for path in store.bytes()),
        "parse:columns": "parquet" in kinds,
        "parse:rejects": any(path.endswith(".rejects.parquet") for path in store.bytes()),
        "parse:unit": "json" in kinds,
        "build:files": "marts" in there,
        "recount:done": any(path.startswith("builds/") and path.endswith("/done") for path in store.bytes()),
        "audit:done": any("/audit-" in path for path in store.bytes()),
        "release:days": any(path.startswith("releases/days/") for path in store.bytes()),
        "release:numbered": "releases/0000000001.json" in store.bytes(),
        "release:current": "CURRENT" in there,
        "policy:numbered": "policies" in there,
        "policy:put": "published" in there and "publications" in there,
    }
    assert steps == {step: faults.POINTS.index(step) <= place for step in steps}


@pytest.mark.parametrize("point", faults.POINTS)
def test_after_a_restart_the_store_is_as_if_nobody_had_been_killed(
    killed: dict[str, Ended], undisturbed: Loop, point: str, tmp_path: Path
) -> None:
    loop = killed[point].store.copy(tmp_path / "again")
    loop.land_file(EXAMPLE / "events.jsonl", "example")
    assert _settled(loop, "raw/") == _settled(undisturbed, "raw/")
    if point in LANDING:
        return  # raw is all that a run knows, and it is the same
    done = loop.run()
    assert done.release is not None
    assert done.release.number == 1
    assert_same(loop.tables(), undisturbed.tables())
    loop.check_whole()
    assert loop.release().raw == undisturbed.release().raw
    assert loop.hours("twice") == undisturbed.hours("twice")
    for folder in ("policies/", "published/"):
        assert _settled(loop, folder) == _settled(undisturbed, folder)
    assert [info.path for info in loop.store.files("releases") if info.path.count("/") == 1] == [loop.release().path]
    assert not loop.run().released


def test_an_import_that_was_cut_off_is_left_out_of_a_run_and_named(
    engines: None,  # noqa: ARG001
    killed: dict[str, Ended],
    tmp_path: Path,
) -> None:
    done = killed["import:recorded"].store.copy(tmp_path / "again").run()
    assert (done.released, done.unfinished) == (False, ("example: events.jsonl",))


def _settled(loop: Loop, folder: str) -> dict[str, str]:
    """Digests of the files of a folder whose bytes are a function of the input."""
    return {path: found for path, found in loop.bytes().items() if path.startswith(folder) and ".claim" not in path}
