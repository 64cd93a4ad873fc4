"""Commands: each says what it does, and what goes wrong is one line and an exit code."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from quotaloop.cli.entry import app
from quotaloop.errors import CheckRefused, InputUnreadable, QuotaloopError, ServiceUnreachable, UsageError
from tests.cli.conftest import Call
from tests.events.bad_lines import SECRETS
from tests.marts.handmade import Handmade


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


COMMANDS = dict(_commands(typer.main.get_command(app)))
PATHS = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def test_the_commands_of_the_loop_are_there() -> None:
    wanted = "run|land files|build|recount|audit|audit waive|release|release list|release show|release rollback"
    wanted += "|release resume|sql|quotas derive|quarantine list|quarantine replay|status|version"
    assert {tuple(words.split()) for words in wanted.split("|")} <= set(COMMANDS)


@PATHS
def test_every_command_says_what_it_does(path: tuple[str, ...], call: Call) -> None:
    text = (COMMANDS[path].help or "").strip()
    assert len(text) > 10
    assert text.endswith(".")
    said = call(*path, "--help")
    assert (said.code, said.err) == (0, "")
    assert text.splitlines()[0] in " ".join(said.out.split())
    assert f"quotaloop {' '.join(path)}".strip() in said.out


@PATHS
def test_every_parameter_says_what_it_is(path: tuple[str, ...]) -> None:
    parameters = COMMANDS[path].params
    assert [parameter.name for parameter in parameters if not getattr(parameter, "help", "")] == []


@pytest.mark.parametrize(
    "words",
    [
        "nope",
        "release nope",
        "--nope status",
        "status --nope",
        "status surplus",
        "sql",
        "land files",
        "release rollback",
        "release rollback one",
        "release rollback 9",
        "release show 9",
        "release show",
        "--config nowhere.toml status",
        "--store s3://bucket/x status",
        "--store",
        "land files {file} --format nope",
        "land files {file} --topic a/b",
        "land files {file} --partition 100000",
        "land files {file} --landed-at yesterday",
        "land files {file} --landed-at 99",
        "audit waive nope t/0/0-5 --reason x",
        "audit waive bad_share t/0/0-5 --reason x",
        "audit waive bad_share t-0-5 --reason x",
        "audit waive bad_share t/0/0-5",
        "quarantine list --limit 0",
        "recount",
        "audit",
    ],
)
def test_a_wrong_call_is_one_line_and_exit_2(words: str, call: Call, made: Handmade, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{}\n")
    said = call(*words.format(file=tmp_path / "file").split())
    assert said.code == 2
    assert len(said.error) > 10
    assert not made.store.exists("raw")


@pytest.mark.parametrize("words", ["", "land", "quotas", "quarantine"], ids=["nothing", "land", "quotas", "quarantine"])
def test_a_group_without_its_command_is_a_wrong_call(words: str, call: Call) -> None:
    said = call(*words.split())
    assert said.code == 2
    assert len(said.error) > 10


def test_a_waiver_of_a_range_outside_the_raw_zone_is_a_wrong_call(call: Call) -> None:
    assert call("audit", "waive", "bad_share", "../0/0-5", "--reason", "x").code == 2


def test_settings_are_checked_before_anything_is_done(
    call: Call, made: Handmade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUOTALOOP_LATE_BOUND", "soon")
    said = call("status")
    assert said.code == 2
    assert "'soon' is not a duration" in said.error
    assert not made.store.exists("")


def test_a_check_that_refuses_is_exit_3(call: Call, made: Handmade) -> None:
    for start, end in ((0, 5), (7, 9)):
        made.store.write_if_absent(f"raw/t/p=00000/{start:020d}-{end:020d}.jsonl.gz", gzip.compress(b""))
    said = call("status")
    assert said.code == 3
    assert said.error == "raw ranges do not tile: a gap between t/0/0-5 and t/0/7-9; nothing was released"


def test_input_that_cannot_be_read_is_exit_4(call: Call, made: Handmade, tmp_path: Path) -> None:
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 1000)[:-9])
    (tmp_path / "not.gz").write_bytes(b"\x1f\x8bno")
    (tmp_path / "folder").mkdir()
    for name in ("cut.jsonl.gz", "not.gz", "folder", "none"):
        said = call("land", "files", str(tmp_path / name))
        assert (said.code, name in said.error) == (4, True)
    assert [info.path for info in made.store.files("raw") if info.path.endswith((".gz", ".claim"))] == []


@pytest.mark.parametrize("kind", [QuotaloopError, UsageError, CheckRefused, InputUnreadable, ServiceUnreachable])
def test_every_error_has_its_exit_code(kind: type[QuotaloopError], call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise kind("what, where\n and what to do")

    monkeypatch.setattr("jobs.status.status", fail)
    said = call("status", "--json")
    codes = {QuotaloopError: 1, UsageError: 2, CheckRefused: 3, InputUnreadable: 4, ServiceUnreachable: 5}
    assert (said.code, said.error) == (codes[kind], "what, where and what to do")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("boom"), "RuntimeError: boom"),
        (KeyError("key"), "KeyError: 'key'"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (KeyboardInterrupt(), "stopped; run it again to go on"),
    ],
)
def test_what_nobody_foresaw_is_one_line_and_exit_1(
    error: BaseException, text: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr("jobs.status.status", fail)
    said = call("status")
    assert said.code == 1
    assert said.error == text


def test_the_stack_is_shown_with_debug_alone(call: Call) -> None:
    assert "Traceback" not in call("release", "show").err
    for words in (("--debug", "release", "show"), ("release", "show", "--debug")):
        assert "Traceback" in call(*words).err


def test_the_exit_code_is_the_same_with_debug(call: Call) -> None:
    said = call("--debug", "release", "show")
    assert said.code == 2
    assert "Traceback" in said.err


@pytest.mark.parametrize("secret", SECRETS, ids=["key", "github", "jwt", "bearer"])
def test_no_error_tells_a_credential(secret: str, call: Call, released: Handmade) -> None:
    assert released.store.exists("CURRENT")
    for words in (("land", "files", secret), ("sql", f'SELECT 1 FROM "{secret}"'), ("--config", secret, "status")):
        said = call(*words)
        assert said.code in (2, 4)
        assert "[redacted]" in said.error
        assert secret not in said.err
        assert secret[-12:] not in said.err


def test_no_error_reaches_the_terminal_as_more_than_text(call: Call) -> None:
    name = "\x1b[2J\x1b]0;title\x07\u202egnp\u200b\x9b31m\r\n\t\x7f\udcffx"
    said = call("land", "files", name)
    spelled = "\\x1b[2J\\x1b]0;title\\x07\\u202egnp\\u200b\\x9b31m \\x7f\\udcffx"
    assert (said.code, said.error) == (4, f"{spelled} is not a file")


def test_an_error_of_any_length_is_a_line_of_some_length(call: Call) -> None:
    said = call("land", "files", "x" * 100_000)
    assert said.code in (1, 4)
    assert len(said.error) <= 2000
