"""A statement's process ends with its time, with who waits for it, and with the server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from mcp import Client

from quotaloop.cli.mcp import children
from quotaloop.cli.mcp.children import Children, Process, Statement
from quotaloop.cli.mcp.server import made as server
from quotaloop.errors import UsageError
from quotaloop.settings import Settings
from tests.cli.mcp.served import Asked, connected
from tests.marts.handmade import Handmade

ONE_CALL = "SELECT levenshtein(repeat('a', 600000), repeat('b', 600000))"  # half an hour without a look at interrupts


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    """The processes that are started."""
    found: list[Process] = []
    start = children._started

    def noted() -> Process:
        found.append(start())
        return found[-1]

    monkeypatch.setattr(children, "_started", noted)
    return found


@pytest.fixture
def settings(looked_at: Handmade) -> Settings:
    """Of the store that nobody changes."""
    return Settings(store=looked_at.store.url)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for it, a minute at most."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_long_call_of_a_function_is_stopped_and_holds_up_nobody(asked: Asked) -> None:
    running = [asked.begun("sql", query=ONE_CALL, timeout_s=0.5) for _ in range(5)]
    assert asked.answer("sql", query="SELECT 1", timeout_s=30)["rows"] == [[1]]
    told = {part.text for call in running for part in call.result().content}
    assert told == {"Error executing tool sql: sql: stopped after 0.5 s; ask for less, or for fewer hours"}


def test_a_client_that_cancels_ends_its_process(settings: Settings, started: list[Process]) -> None:
    with connected(Client(server(settings, allow_publish=False))) as here:
        running = here.begun("sql", query=ONE_CALL, timeout_s=30)
        until(lambda: len(started) == 1)
        running.cancel()
        until(lambda: started[0].returncode is not None)
        assert started[0].returncode == -9
        assert here.answer("sql", query="SELECT 2")["rows"] == [[2]]


def test_what_is_stopped_before_it_begins_takes_no_process_with_it(settings: Settings, started: list[Process]) -> None:
    kept = Children()
    statement = Statement(kept, settings, ONE_CALL, 1, 30)
    statement.stop()
    with pytest.raises(UsageError, match="cancelled"):
        statement.answer()
    found = Statement(kept, settings, "SELECT 3", 1, 30)
    assert found.answer()["rows"] == [[3]]
    found.stop()  # too late: the process is another's by now
    assert Statement(kept, settings, "SELECT 4", 1, 30).answer()["rows"] == [[4]]
    assert len(started) == 1


def test_a_process_that_died_while_it_waited_is_replaced(settings: Settings, started: list[Process]) -> None:
    kept = Children()
    for number in (1, 2):
        assert Statement(kept, settings, f"SELECT {number}", 1, 30).answer()["rows"] == [[number]]
        started[-1].kill()
        started[-1].wait()
    assert len(started) == 2


def test_no_process_is_left_of_a_server_that_ends(settings: Settings, started: list[Process]) -> None:
    with connected(Client(server(settings, allow_publish=False))) as here:
        here.answer("sql", query="SELECT 1")
    kept = Children()
    Statement(kept, settings, "SELECT 1", 1, 30).answer()
    del kept
    assert started[-1].returncode == -9


def test_a_process_ends_while_it_is_busy_when_its_server_is_gone(settings: Settings) -> None:
    endless = "SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range % 7 = b.range % 3"
    request = {"settings": {"store": settings.store}, "statement": endless, "max_rows": 1, "timeout_s": 1000}
    command = [sys.executable, "-m", "quotaloop.cli.mcp.child"]
    done = subprocess.run(command, input=json.dumps(request).encode() + b"\n", stdout=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"")


def test_passwords_are_not_told_to_the_process(settings: Settings) -> None:
    secret = Settings(store=settings.store, kafka_password="hunter2", sinks='{"password": "hunter2"}')
    assert b"hunter2" not in Statement(Children(), secret, "SELECT 1", 1, 1)._request()
