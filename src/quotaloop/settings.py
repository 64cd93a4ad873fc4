"""All settings, resolved once: flag > environment > file > default, into one frozen value."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from quotaloop.errors import UsageError

COMPLETENESS = ("require", "when-stamped", "off")
SHIPPED = "shipped"  # of task_python: the packages travel with the job
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One run's settings. Names are those of ``QUOTALOOP_<NAME>``; durations are whole milliseconds.

    ``rows_only()`` names the settings that can change a row of a table.
    """

    store: str = "file:./store"
    webhdfs: str = ""
    hdfs_user: str = ""
    late_bound: int = 48 * 3_600_000
    closed_grace: int = 70 * 60_000
    max_bad_share: float = 0.05
    max_groups: int = 1_000_000
    range_bytes: int = 256 * 1024 * 1024
    land_after: int = 15 * 60_000
    land_on: str = "process"
    kafka_topics: str = ""
    kafka_brokers: str = ""
    kafka_security: str = "plaintext"
    kafka_mechanism: str = "SCRAM-SHA-512"
    kafka_username: str = ""
    kafka_password: str = field(default="", repr=False)
    kafka_password_file: str = ""
    kafka_ca: str = ""
    max_inflated_bytes: int = 64 * 1024**3
    max_inflation: int = 200
    completeness: str = "when-stamped"
    max_missing_share: float = 0.001
    max_late_share: float = 0.01
    max_policy_age: int = 14 * 86_400_000
    policy_lifetime: int = 2 * 86_400_000
    quota_span: int = 28 * 86_400_000
    quantile: float = 0.99
    headroom: float = 1.25
    dead_band_up: float = 0.05
    dead_band_down: float = 0.2
    greatest_step_up: float = 2.0
    greatest_step_down: float = 0.5
    shape_weeks: int = 3
    greatest_burst: float = 2.0
    floor_requests: int = 10
    floor_tokens: int = 1_000
    floor_compute: int = 1_000_000
    floor_concurrency: int = 1
    cap_requests: int = 100_000
    cap_tokens: int = 100_000_000
    cap_compute: int = 60_000_000_000
    cap_concurrency: int = 1_000
    capacity_requests: int = 6_000
    capacity_tokens: int = 2_000_000
    capacity_compute: int = 480_000_000
    capacity_concurrency: int = 400
    safe_capacity_requests: int = 60
    safe_capacity_tokens: int = 20_000
    safe_capacity_compute: int = 6_000_000
    safe_capacity_concurrency: int = 4
    weights: str = ""
    suspended: str = ""
    spark_master: str = "local[*]"
    spark_memory: str = "1g"
    spark_executors: int = 2
    recount_on: str = "auto"
    hadoop_bin: str = ""
    hadoop_streaming_jar: str = ""
    task_python: str = ""
    task_memory: str = "2GB"
    sinks: str = field(default="", repr=False)  # there may be passwords in it
    max_denied_share: float = 0.05
    max_over_share: float = 0.0
    backtest_on: str = "process"
    lease: int = 5 * 60_000
    patience: int = 20_000

    def rows_only(self) -> dict[str, Any]:
        """The settings that touch rows; revisions are carried over only between equal ones."""
        return {"late_bound": self.late_bound, "max_groups": self.max_groups}


def duration_ms(text: str) -> int:
    """Milliseconds of ``48h``, ``70m``, ``14d``, ``500ms`` or a bare number of seconds.

    >>> duration_ms("48h")
    172800000
    """
    match = re.fullmatch(r"([0-9]+)\s*([a-z]*)", text.strip())
    if match is None or (match[2] or "s") not in _UNITS_MS:
        raise UsageError(f"{text!r} is not a duration: write 48h, 70m, 14d, 30s or 500ms")
    return int(match[1]) * _UNITS_MS[match[2] or "s"]


_SIZE = re.compile(r"([1-9][0-9]*)(MB|GB)")
_WORDS = {
    "completeness": COMPLETENESS,
    "land_on": ("process", "spark"),
    "backtest_on": ("process", "spark"),
    "recount_on": ("auto", "local", "hadoop"),
    "kafka_security": ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"),
}
_DURATIONS = frozenset(
    {
        "late_bound",
        "closed_grace",
        "land_after",
        "max_policy_age",
        "policy_lifetime",
        "quota_span",
        "lease",
        "patience",
    }
)


def megabytes(size: str) -> int:
    """Whole megabytes of a size such as ``512MB`` or ``2GB``; raises ``UsageError``."""
    match = _SIZE.fullmatch(size)
    if match is None:
        raise UsageError(f"{size!r} is not a size: write 512MB or 2GB")
    return int(match[1]) * (1024 if match[2] == "GB" else 1)


def load(
    *,
    flags: Mapping[str, str | None] | None = None,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from flags, environment, a TOML file and the defaults, in this order of precedence.

    Raises ``UsageError`` for a file that cannot be read, a name that is not a setting and a value of another type.
    """
    environ = os.environ if environ is None else environ
    types = {item.name: item.type for item in fields(Settings)}
    chosen: dict[str, Any] = {}
    for name, value in _from_file(config).items():
        if name not in types:
            raise UsageError(f"{config}: {name} is not a setting")
        chosen[name] = value
    for name in types:
        value = environ.get(f"QUOTALOOP_{name.upper()}")
        if value is not None:
            chosen[name] = value
    chosen.update({name: value for name, value in (flags or {}).items() if value is not None})
    return with_changes(Settings(), chosen)


def with_changes(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Settings with some of them as they were written; raises ``UsageError`` for a value of another type."""
    types = {item.name: str(item.type) for item in fields(Settings)}
    return replace(settings, **{name: _typed(name, types[name], value) for name, value in changes.items()})


def _from_file(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the settings file {config} cannot be read: {error}") from error


def _typed(name: str, kind: str, value: Any) -> Any:
    if name == "sinks" and isinstance(value, dict):  # tables of the settings file
        return json.dumps(value, sort_keys=True)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UsageError(f"setting {name}: {value!r} is neither text nor a number")
    if name in _DURATIONS:
        return duration_ms(str(value))
    try:
        number = float(value) if kind == "float" else int(str(value)) if kind == "int" else str(value)
    except ValueError as error:
        raise UsageError(f"setting {name}: {value!r} is not a number") from error
    if name in _WORDS and number not in _WORDS[name]:
        raise UsageError(f"setting {name}: {value!r} is none of {', '.join(_WORDS[name])}")
    if name == "task_memory" and _SIZE.fullmatch(str(number)) is None:
        raise UsageError(f"setting task_memory: {value!r} is not a size: write 512MB or 2GB")
    if isinstance(number, float | int) and not (0 <= number < float("inf")):
        raise UsageError(f"setting {name}: {value!r} is out of range")
    return number
