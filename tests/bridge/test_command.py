"""The command of the bridge: where its password comes from."""

from __future__ import annotations

import pytest

from tests.cli.calling import called

WORDS = ("bridge", "mqtt", "--url", "mqtt://127.0.0.1:1", "--topic", "a", "--to", "events")


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> str:
    """One that is in the environment."""
    monkeypatch.setenv("QUOTALOOP_MQTT_PASSWORD", "of-the-environment")
    return "of-the-environment"


def test_a_file_that_is_named_in_the_call_wins_over_a_password_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], password: str
) -> None:
    code, out, err = called(monkeypatch, capsys, *WORDS, "--password-file", "no-such-file")
    assert (code, out, err) == (2, "", "quotaloop: --password-file: no-such-file cannot be read\n")
    assert password not in err


@pytest.mark.usefixtures("password")
def test_a_password_in_the_environment_wins_over_a_file_that_is_named_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUOTALOOP_MQTT_PASSWORD_FILE", "no-such-file")
    code, out, err = called(monkeypatch, capsys, *WORDS)
    assert (code, out, err) == (2, "", "quotaloop: there is a password and no --username\n")


def test_a_file_that_is_named_in_the_environment_is_read_where_there_is_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("QUOTALOOP_MQTT_PASSWORD", raising=False)
    monkeypatch.setenv("QUOTALOOP_MQTT_PASSWORD_FILE", "no-such-file")
    code, _, err = called(monkeypatch, capsys, *WORDS)
    assert (code, err) == (2, "quotaloop: --password-file: no-such-file cannot be read\n")
