"""Settings: flag before environment before file before default, and errors that name the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from quotaloop.errors import UsageError
from quotaloop.settings import Settings, duration_ms, load


def write(folder: Path, text: str) -> Path:
    path = folder / "quotaloop.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    config = write(tmp_path, 'store = "file:///f"\nmax_groups = 3\nheadroom = 3.5\n')
    environ = {"QUOTALOOP_STORE": "file:///e", "QUOTALOOP_MAX_GROUPS": "2"}
    settings = load(flags={"store": "file:///flag", "max_groups": None}, config=config, environ=environ)
    assert settings.store == "file:///flag"
    assert settings.max_groups == 2
    assert settings.headroom == 3.5
    assert settings.max_bad_share == 0.05


def test_without_anything_said_the_defaults_of_the_contract_hold() -> None:
    settings = load(environ={})
    assert settings == Settings()
    assert settings.late_bound == 48 * 3_600_000
    assert settings.max_bad_share == 0.05
    assert settings.max_groups == 1_000_000
    assert settings.max_missing_share == 0.001
    assert settings.max_policy_age == 14 * 86_400_000
    assert settings.completeness == "when-stamped"


def test_other_variables_of_the_environment_are_not_settings() -> None:
    assert load(environ={"QUOTALOOP_KILL_AT": "x", "STORE": "y", "quotaloop_store": "z"}) == Settings()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("48h", 172_800_000),
        ("70m", 4_200_000),
        ("70min", 4_200_000),
        ("14d", 1_209_600_000),
        ("30s", 30_000),
        ("500ms", 500),
        ("5", 5_000),
        (" 5 h ", 18_000_000),
        ("0", 0),
    ],
)
def test_durations_are_milliseconds(text: str, expected: int) -> None:
    assert duration_ms(text) == expected
    assert load(environ={"QUOTALOOP_LATE_BOUND": text}).late_bound == expected


@pytest.mark.parametrize("text", ["", "h", "-5h", "1.5h", "5 weeks", "5H", "\u0665h", "1h30m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a duration"):
        duration_ms(text)


def test_a_duration_in_the_file_may_be_a_bare_number_of_seconds(tmp_path: Path) -> None:
    assert load(config=write(tmp_path, "late_bound = 60\n"), environ={}).late_bound == 60_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_GROUPS", "many"),
        ("MAX_GROUPS", "-1"),
        ("MAX_GROUPS", "5.0"),
        ("MAX_GROUPS", ""),
        ("MAX_BAD_SHARE", "nan"),
        ("MAX_BAD_SHARE", "inf"),
        ("MAX_BAD_SHARE", "-0.1"),
        ("MAX_BAD_SHARE", "5%"),
        ("COMPLETENESS", "maybe"),
        ("TASK_MEMORY", "2"),
        ("TASK_MEMORY", "0GB"),
    ],
)
def test_a_value_of_another_type_or_out_of_range_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name.lower()) as error:
        load(environ={f"QUOTALOOP_{name}": value})
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no_such_setting = 1\n", "no_such_setting is not a setting"),
        ("store = \n", "cannot be read"),
        ("max_groups = true\n", "max_groups"),
        ("max_groups = [1]\n", "max_groups"),
        ("[store]\nurl = 'x'\n", "store"),
        ("rows_only = 1\n", "rows_only is not a setting"),
    ],
)
def test_a_file_that_says_what_no_setting_can_be_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load(config=write(tmp_path, text), environ={})


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load(config=tmp_path / "none.toml", environ={})
    (tmp_path / "bytes.toml").write_bytes(b"store = '\xff'")
    with pytest.raises(UsageError, match="cannot be read"):
        load(config=tmp_path / "bytes.toml", environ={})


def test_only_the_settings_that_touch_rows_make_days_be_built_again() -> None:
    assert load(environ={"QUOTALOOP_HEADROOM": "2"}).rows_only() == Settings().rows_only()
    for name, value in (("LATE_BOUND", "1h"), ("MAX_GROUPS", "7")):
        assert load(environ={f"QUOTALOOP_{name}": value}).rows_only() != Settings().rows_only()
