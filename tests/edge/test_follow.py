"""A limiter that is kept at the newest policy of a file, and what becomes of problems, whatever raised them."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from quotaloop.edge.follow import from_file
from quotaloop.errors import CheckRefused, ServiceUnreachable
from quotaloop.quotas.policy import KINDS, Policy, Rate, instant, render
from quotaloop.sinks.file import FileSink
from quotaloop.sinks.sink import Sink
from tests.edge.followers import NOON, PATIENCE_S, epoch, follower, left
from tests.sinks.pushes import limit, policy, sink


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the file sink puts the policy; it is not there yet."""
    return tmp_path / "store" / "published" / "policy.json"


@pytest.fixture
def files(tmp_path: Path) -> Sink:
    return sink(FileSink, tmp_path)


def test_each_policy_that_is_published_to_a_file_is_loaded_once(file: Path, files: Sink) -> None:
    made = follower(from_file(file))
    assert (made.look(), made.epoch, left(made.limiter)) == (False, 0, 1)
    files.publish(epoch(1))
    assert (made.look(), made.epoch, left(made.limiter)) == (True, 1, 10)
    assert (made.look(), made.problem, left(made.limiter)) == (False, "", 10)  # the same again is no older one
    files.publish(epoch(2))
    files.publish(epoch(3))
    assert (made.look(), made.epoch, left(made.limiter), made.problem) == (True, 3, 30, "")


def test_a_file_is_read_again_only_when_it_was_replaced(file: Path, files: Sink) -> None:
    files.publish(epoch(1))
    read = from_file(file)
    first = read()
    assert read() is first
    content = file.read_bytes()
    other = file.with_suffix(".new")
    other.write_bytes(content)
    other.replace(file)
    again = read()
    assert again == first
    assert again is not first


def test_an_older_policy_is_refused_and_said_once(file: Path, files: Sink, caplog: pytest.LogCaptureFixture) -> None:
    made = follower(from_file(file))
    files.publish(epoch(2))
    made.look()
    file.write_bytes(render(epoch(1)))
    assert [made.look(), made.look()] == [False, False]
    assert (made.epoch, left(made.limiter)) == (2, 20)
    assert made.problem == "policy 1 is refused: epoch 2 is loaded"
    assert caplog.messages == [f"the policy stays as it is: {made.problem}"]
    files.publish(epoch(3))
    assert (made.look(), made.problem) == (True, "")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (b"", "the policy is refused whole"),
        (b"\0" * 100, "the policy is refused whole"),
        (b"\xff\xfe", "the policy is refused whole"),
        (b"[" * 100_000, "the policy is refused whole"),
        (b'{"epoch": ' + b"9" * 5_000 + b"}", "the policy is refused whole"),
        (render(epoch(2))[:-20], "the policy is refused whole"),
        (render(epoch(2)).replace(b'"limit": 20', b'"limit": -20'), "the policy is refused whole"),
        (render(policy(2, limit("acme", "requests", 2**53 - 1))), "cannot be counted exactly"),
    ],
)
def test_what_is_no_policy_changes_nothing_and_what_follows_it_is_loaded(
    file: Path, files: Sink, damage: bytes, said: str
) -> None:
    made = follower(from_file(file))
    files.publish(epoch(1))
    made.look()
    file.write_bytes(damage)
    assert [made.look(), made.look()] == [False, False]
    assert (made.epoch, left(made.limiter)) == (1, 10)
    assert said in made.problem
    assert "\n" not in made.problem
    file.write_bytes(render(epoch(2)))
    assert (made.look(), made.problem, left(made.limiter)) == (True, "", 20)


def test_a_file_that_has_gone_changes_nothing_and_is_no_problem(file: Path, files: Sink) -> None:
    made = follower(from_file(file))
    files.publish(epoch(1))
    made.look()
    file.unlink()
    assert (made.look(), made.problem, left(made.limiter)) == (False, "", 10)
    files.publish(epoch(2))
    assert made.look()


def test_what_cannot_be_read_is_a_problem_that_names_no_folder(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path, f"{tmp_path.name} cannot be read: Is a directory"),
        (tmp_path / "policy.json" / "x", "x cannot be read: Not a directory"),
    ):
        (tmp_path / "policy.json").touch()
        made = follower(from_file(path))
        assert not made.look()
        assert made.problem == said
    made = follower(from_file(tmp_path / "a\0b"))
    assert (made.look(), made.problem) == (False, "embedded null byte")


def test_a_policy_that_has_expired_gives_way_to_its_safe_capacity_until_a_newer_one_comes(
    file: Path, files: Sink
) -> None:
    made = follower(from_file(file))
    safe: dict[Any, Rate] = {kind: Rate(limit=3, per_seconds=60, burst=3) for kind in KINDS}
    files.publish(replace(epoch(1), expires_at=instant(NOON), safe_capacity=safe))
    assert made.look()
    assert (left(made.limiter, NOON - 1), left(made.limiter, NOON)) == (10, 3)
    files.publish(epoch(2))
    assert made.look()
    assert left(made.limiter) == 20


def test_what_a_source_raises_is_said_and_asked_for_again() -> None:
    answers: list[Policy | BaseException] = [
        RuntimeError("not foreseen"),
        OSError(),
        ServiceUnreachable("away"),
        epoch(1),
    ]

    def read() -> Policy | None:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    made = follower(read)
    problems = []
    while not made.look():
        problems.append(made.problem)
    assert problems == ["not foreseen", "OSError", "away"]
    assert (made.problem, left(made.limiter)) == ("", 10)


def test_a_problem_is_said_when_it_changes_and_when_it_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    says: list[str | None] = ["one", "one", "two", "two", None, "two"]

    def read() -> Policy | None:
        if (problem := says.pop(0)) is not None:
            raise CheckRefused(problem)
        return None

    made = follower(read)
    while says:
        made.look()
    assert caplog.messages == [f"the policy stays as it is: {problem}" for problem in ("one", "two", "two")]


def test_a_thread_loads_what_is_published_while_it_runs(file: Path, files: Sink) -> None:
    files.publish(epoch(1))
    made = follower(from_file(file), every_ms=1).start()
    try:
        assert left(made.limiter) == 10  # at once
        for number in (2, 3):
            files.publish(epoch(number))
            assert made.wait_for(number, PATIENCE_S)
            assert left(made.limiter) == 10 * number
        assert made.wait_for(1, 0)
        assert not made.wait_for(4, 0)
    finally:
        made.stop()
    files.publish(epoch(4))
    assert made.epoch == 3
    assert made.look()  # whoever asks for it


def test_a_follower_can_be_stopped_before_it_was_started_and_twice(file: Path) -> None:
    made = follower(from_file(file))
    made.stop()
    made.start()
    made.stop()
    made.stop()
    assert made.epoch == 0


def test_a_child_of_a_fork_goes_on_following(file: Path, files: Sink) -> None:
    files.publish(epoch(1))
    made = follower(from_file(file), every_ms=10).start()
    child = os.fork()
    if not child:
        os._exit(0 if made.wait_for(2, PATIENCE_S) else 1)
    files.publish(epoch(2))
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        made.stop()
