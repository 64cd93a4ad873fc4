"""Write the generated pages of this folder, or see that they are current: ``python docs/generate.py [--check]``.

Tables, views, fields, reasons and settings come from their declarations in the library; here are only the words that a
declaration does not hold.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from quotaloop.events import fields
from quotaloop.events.event import FORMAT, LATE
from quotaloop.events.parser import REASONS
from quotaloop.marts.release import Release
from quotaloop.marts.tables import DAILY, PUBLISHED, Column, Table
from quotaloop.marts.views import EVENT_COLUMNS, open_views
from quotaloop.settings import _DURATIONS, Settings
from quotaloop.storage.local import LocalStore

HERE = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/generate.py from the declarations in the library; not to be edited. -->"
_MARKED = re.compile(r"(<!-- settings: begin -->\n).*(<!-- settings: end -->)", re.DOTALL)

Rows = Iterable[Sequence[str]]

_TOKENS = "0 to 2^40-1; 0 if absent"
_BYTES = "0 to 2^50-1; 0 if absent"
_ID = "1-128 of `A-Z a-z 0-9 . _ : -`"


def _words(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


# Field of the event to its rule and its meaning.
FIELDS: dict[str, tuple[str, str]] = {
    "event_id": (_ID, "name of the attempt; the same id and content twice is a duplicate"),
    "ts": (
        "RFC 3339 with `Z` or an offset, or epoch ms; from 2010 up to, not including, 2100",
        "arrival at the gateway; finer than ms is cut off",
    ),
    "tenant": (f"`{fields.TENANT_FORM}`", "whose request it was"),
    "route": ("starts with `/`, at most 256 characters, all printable, no space", "route template"),
    "api_version": (f"`{fields.VERSION_FORM}`", "version that served it"),
    "status": ("100 to 599", "HTTP status"),
    "duration_ms": ("0 to 86,400,000", "arrival to last byte, ms"),
    "method": ("upper-case letters; `POST` if absent", "HTTP method"),
    "protocol": (f"{_words(fields.PROTOCOLS)}; `http` if absent", "how it was spoken to"),
    "version_source": (_words(fields.VERSION_SOURCES), "where the version was read"),
    "operation": (_ID, "OpenTelemetry `gen_ai.operation.name` where one fits"),
    "model": ("1-128 characters after NFC, all printable; `unknown` if absent", "model, in NFC"),
    "outcome": (
        f"{_words(fields.OUTCOMES)}; if absent: 429 denied, 499 cancelled, below 400 ok, else error",
        "what became of it",
    ),
    "denied_by": (f"{_words(fields.DENIED_BY)}; only when denied", "the limit that denied it"),
    "ttft_ms": ("0 to `duration_ms`", "time to the first token or byte, ms"),
    "input_tokens": (_TOKENS, "tokens read, neither from nor into the cache"),
    "cache_read_tokens": (_TOKENS, "tokens read from the cache"),
    "cache_write_tokens": (_TOKENS, "tokens written into the cache"),
    "output_tokens": (_TOKENS, "tokens generated, without reasoning"),
    "reasoning_tokens": (_TOKENS, "tokens generated as reasoning"),
    "total_tokens": ("if present, exactly the sum of the five classes", "sum of the five classes"),
    "wanted_tokens": ("0 to 2^40-1", "tokens that a denied request would have used"),
    "gpu_ms": ("0 to 10^12; 0 if absent", "accelerator time, ms"),
    "bytes_in": (_BYTES, "bytes received"),
    "bytes_out": (_BYTES, "bytes sent"),
    "stream_messages": (_BYTES, "messages of a stream"),
    "retry_of": (_ID, "`event_id` of the first attempt that this one repeats"),
    "api_key_id": (_ID, "an id or keyed hash of the key; never a key"),
    "host": (f"{_ID}; with `boot` and `seq`", "gateway host, of the stamp"),
    "boot": (f"{_ID}; with `host` and `seq`", "start of the gateway on that host, of the stamp"),
    "seq": ("from 1; with `host` and `boot`", "number of the event within its host and boot"),
    "prev_boot": (f"{_ID}; with `prev_seq`", "the boot before this one"),
    "prev_seq": ("from 0; with `prev_boot`", "the last number that the boot before had written"),
}

# Columns of SQL views that are not of a published table or an event.
VIEWS: dict[str, tuple[str, dict[str, str]]] = {
    "events": (
        "Every accepted event of the release: the parsed events without duplicates and conflicts.",
        {
            "hour": "beginning of the event's hour, UTC",
            "topic": "topic of the raw zone",
            "partition": "partition of the topic",
            "offset": "offset of the raw line: where the event can be read byte for byte",
        },
    ),
    "quota_decisions": (
        "Every limit of every policy beside the one it replaced; one row per policy, tenant, scope and kind.",
        {
            "policy_epoch": "epoch of the policy; only grows",
            "tenant": "whom the limit holds for",
            "scope": "model and API version that the limit holds for, JSON",
            "kind": "requests, tokens, concurrency or compute (microseconds)",
            "old_limit": "limit of the policy before, per its period; null where there was none",
            "new_limit": "limit of this policy, per its period",
            "reason": "what bound it: want, floor, cap or capacity",
            "evidence": "what the limit was derived from, JSON",
        },
    ),
    "rate_limit_against_policy": (
        "`rate_limit_usage` beside the policy that was in force at the beginning of the hour.",
        {
            "limit": "limit in force, per `per_seconds`; null where no policy was",
            "per_seconds": "period of the limit, s",
            "burst": "what may be spent at once",
            "policy_epoch": "epoch of the policy in force; null where none was",
            "utilisation": "peak minute (concurrency: most in flight) over the limit; 1 is all of it",
        },
    ),
}

SETTINGS: dict[str, str] = {
    "store": "where everything lies, a URL",
    "webhdfs": "the NameNode's web server, or several with `;` between; unless given, port 9870 of the store's host",
    "hdfs_user": "who reads and writes on HDFS; unless given, `HADOOP_USER_NAME` or who runs this",
    "late_bound": "an event whose Kafka time is later than its `ts` by more than this is late",
    "closed_grace": "how long after its end an hour of a Kafka topic stays open; files close theirs when they land",
    "max_bad_share": "share of a raw file's lines in quarantine beyond which nothing is released",
    "max_groups": "rows that one hour of one table may have",
    "range_bytes": "lines of one raw file, bytes before compression",
    "land_after": "records of a topic that do not fill a range wait until they are so old; `land kafka` does not wait",
    "land_on": "`process` or `spark`: where ranges are copied from Kafka",
    "kafka_topics": "topics that `run` lands, with commas between them",
    "kafka_brokers": "brokers to begin with, `host:port` with commas between them",
    "kafka_security": "`plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`",
    "kafka_mechanism": "how to sign in with `sasl_...`",
    "kafka_username": "who signs in",
    "kafka_password": "the password; better in a file",
    "kafka_password_file": "a file that holds nothing but the password",
    "kafka_ca": "a PEM file with the certificate authorities that brokers are checked against",
    "max_inflated_bytes": "bytes that one compressed file may inflate to",
    "max_inflation": "how many times its size a compressed file may inflate to",
    "completeness": "`require`, `when-stamped` or `off`: which hours must prove that nothing is missing",
    "max_missing_share": "share of missing events up to which an hour moves quotas",
    "max_late_share": "share of events after its closing up to which an hour moves quotas; landed files have none",
    "max_policy_age": "how long after they were derived limits are renewed",
    "policy_lifetime": "how long a policy is valid",
    "quota_span": "how far back from the newest fit hour demand counts",
    "quantile": "quantile of the demand of active minutes that a limit starts from",
    "headroom": "factor on that quantile",
    "dead_band_up": "a limit stays unless what is wanted is above it by more than this share of it",
    "dead_band_down": "a limit stays unless what is wanted is below it by more than this share of it",
    "greatest_step_up": "how many times the old one a new limit is at most",
    "greatest_step_down": "how many times the old one a new limit is at least, unless capacity leaves no other way",
    "shape_weeks": "weeks that must hold the hours ahead for those hours of the week alone to count; 0: all count",
    "greatest_burst": "how many periods' worth of the limit a burst is at most, unless one request alone is greater",
    "floor_requests": "least limit, requests a minute",
    "floor_tokens": "least limit, tokens a minute",
    "floor_compute": "least limit, microseconds a minute",
    "floor_concurrency": "least limit, requests in flight",
    "cap_requests": "greatest limit of one tenant, requests a minute",
    "cap_tokens": "greatest limit of one tenant, tokens a minute",
    "cap_compute": "greatest limit of one tenant, microseconds a minute",
    "cap_concurrency": "greatest limit of one tenant, requests in flight",
    "capacity_requests": "what all tenants share, requests a minute",
    "capacity_tokens": "what all tenants share, tokens a minute",
    "capacity_compute": "what all tenants share, microseconds a minute",
    "capacity_concurrency": "what all tenants share, requests in flight",
    "safe_capacity_requests": "limit without a valid policy, requests a minute",
    "safe_capacity_tokens": "limit without a valid policy, tokens a minute",
    "safe_capacity_compute": "limit without a valid policy, microseconds a minute",
    "safe_capacity_concurrency": "limit without a valid policy, requests in flight",
    "weights": "shares of scarce capacity by tenant; 1 for who is not named",
    "suspended": "tenants that nothing is let through for, with commas between them",
    "spark_master": "Spark's master; `spark-submit` has precedence",
    "spark_memory": "memory of a local Spark's Java, through which no rows pass",
    "spark_executors": "executors of a session on YARN, one core each",
    "recount_on": "`local`, `hadoop`, or `auto`: Hadoop where the store is on HDFS",
    "hadoop_bin": "the `hadoop` command; unless given, that of `HADOOP_HOME` or on the `PATH`",
    "hadoop_streaming_jar": "the jar of Hadoop streaming; unless given, mrjob looks for it",
    "task_python": "Python on the nodes, `shipped`: the packages travel too; unless given, the path it has here",
    "task_memory": "what DuckDB may take in each task before it spills; on YARN, a container is asked for 256 MB more",
    "sinks": "where policies are published to besides `published/policy.json`: a table a sink, see docs/sinks.md",
    "max_denied_share": "share of demand that capacity could carry up to which a backtest may deny it",
    "max_over_share": "share of minutes in which limits may let more pass than the capacity, by what was asked for; 0: "
    "they never add up to more",
    "backtest_on": "`process` or `spark`: where backtests run",
    "lease": "how long a run that died elsewhere keeps others waiting; 0: runs do not look at one another",
    "patience": "how long Kafka, HDFS and YARN are waited for",
}

_ARROW_TYPES = {
    pa.string(): "string",
    pa.int32(): "int32",
    pa.int64(): "int64",
    pa.float64(): "double",
    pa.date32(): "date",
    pa.timestamp("ms", tz="UTC"): "timestamp, UTC",
    pa.map_(pa.string(), pa.int64()): "map of string to int64",
}
_SQL_TYPES = {
    "VARCHAR": "string",
    "INTEGER": "int32",
    "BIGINT": "int64",
    "DOUBLE": "double",
    "TIMESTAMP WITH TIME ZONE": "timestamp, UTC",
}
_MERGES = {
    "sum": "sum",
    "max": "greatest",
    "min": "least",
    "first": "first",
    "last": "last",
    "quantile": "from the day's histogram",
}
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms"))


def pages() -> dict[Path, str]:
    """Every page that is generated, or holds something generated, and its text as it should be."""
    operations = HERE / "operations.md"
    return {
        HERE / "tables.md": tables_page(),
        HERE / "events.md": events_page(),
        operations: _MARKED.sub(
            lambda match: match[1] + settings_table() + match[2], operations.read_text(encoding="utf-8")
        ),
    }


def tables_page() -> str:
    """``tables.md``."""
    daily = {table.name: source.name for table, source in DAILY.items()}
    parts = [
        NOTE,
        "# Tables",
        "What a release publishes. `quotaloop sql` has a view for each. The files are plain Parquet below\n"
        "`marts/<table>/` and count only if the release names them (see [operations.md](operations.md)). Times are\n"
        "UTC. A `_ms` is milliseconds, from whole microseconds divided by 1000. The columns of the grain, in bold,\n"
        "tell rows apart and are never null.",
        *(_table_part(table, daily.get(table.name)) for table in PUBLISHED.values()),
        "# Views",
        "`quotaloop sql` has these besides. They are made when they are read, from the same release.",
        *(_view_part(name) for name in VIEWS),
    ]
    return "\n\n".join(parts) + "\n"


def events_page() -> str:
    """``events.md``."""
    rows = (
        (f"`{field.name}`", field.kind, "yes" if field.required else "", FIELDS[field.name][0], FIELDS[field.name][1])
        for field in fields.FIELDS
    )
    parts = [
        NOTE,
        f"# Events: `{FORMAT}`",
        "One API request as one line of UTF-8 JSON, at most 65,536 bytes without its line end and 64 levels deep,\n"
        "written by the gateway when the request ends. `null` in an optional field is the same as absent. Unknown\n"
        "fields are counted by name and not kept. A `time` is a string or an integer, a `number` an integer or a\n"
        "fraction; integers are JSON integers (`5.0` is none).",
        _grid(("field", "kind", "required", "rule", "meaning"), rows),
        "# Outcomes of a line",
        "Every line is `accepted`, `duplicate`, `late` or `quarantined`, for exactly one reason: the first of size,\n"
        "encoding, syntax, duplicate key, depth, missing field, type, range or form, consistency, credential.\n"
        f"`{LATE.reason}` is a line whose Kafka time is more than `late_bound` after its `ts`. The reasons of\n"
        "quarantine:",
        _grid(("reason", "kind of line"), ((f"`{reason}`", text) for reason, text in REASONS.items())),
    ]
    return "\n\n".join(parts) + "\n"


def settings_table() -> str:
    """The table of all settings, for ``operations.md``."""
    rows = (
        (f"`{name}`", f"`QUOTALOOP_{name.upper()}`", _default(name, field.default), SETTINGS[name])
        for name, field in ((field.name, field) for field in dataclass_fields(Settings))
    )
    return _grid(("setting", "environment", "default", "meaning"), rows) + "\n"


def sql_columns(view: str) -> dict[str, str]:
    """Columns of a view and their types, as DuckDB has them."""
    empty = Release(
        number=1,
        parent=None,
        code="",
        settings={},
        fingerprint="",
        checks=[],
        raw=[],
        days={},
        ledger=None,
        waivers=[],
    )
    with tempfile.TemporaryDirectory() as folder, open_views(LocalStore(Path(folder)), empty) as connection:
        described: duckdb.DuckDBPyConnection = connection.execute(f"DESCRIBE SELECT * FROM {view}")
        return {row[0]: row[1] for row in described.fetchall()}


def view_docs(view: str) -> dict[str, str]:
    """What each column of a view means."""
    own = VIEWS[view][1]
    if view == "events":
        return {name: own[name] if name in own else FIELDS[name][1] for name in EVENT_COLUMNS}
    if view == "rate_limit_against_policy":
        return {column.name: column.doc for column in PUBLISHED["rate_limit_usage"].columns} | own
    return own


def _table_part(table: Table, source: str | None) -> str:
    grain = ", ".join(f"`{name}`" for name in table.grain)
    head = f"## `{table.name}`\n\n{table.doc}{f' Source: `{source}`.' if source else ''}\n\nGrain: {grain}."
    titles = ("column", "type", "meaning", *(("of the hours",) if source else ()))
    rows = (_column_row(table, column, merged=source is not None) for column in table.columns)
    return f"{head}\n\n{_grid(titles, rows)}"


def _column_row(table: Table, column: Column, *, merged: bool) -> tuple[str, ...]:
    key = column.name in table.grain
    name = f"**`{column.name}`**" if key else f"`{column.name}`"
    kind = _ARROW_TYPES[column.type] + (", or null" if column.nullable else "")
    return (name, kind, column.doc, *(("" if key else _MERGES[column.merge],) if merged else ()))


def _view_part(view: str) -> str:
    docs = view_docs(view)
    rows = ((f"`{name}`", _SQL_TYPES[kind], docs[name]) for name, kind in sql_columns(view).items())
    return f"## `{view}`\n\n{VIEWS[view][0]}\n\n{_grid(('column', 'type', 'meaning'), rows)}"


def _default(name: str, value: Any) -> str:
    if name in _DURATIONS:
        size, unit = next((size, unit) for size, unit in _UNITS if value % size == 0)
        return f"`{value // size}{unit}`"
    return f"`{value}`" if value != "" else "none"


def _grid(titles: Sequence[str], rows: Rows) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in lines)


def main(arguments: list[str] | None = None) -> int:
    """Write, or with ``--check`` name what is not current; the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is not current")
    check = parser.parse_args(arguments).check
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if check:
            sys.stderr.write(f"docs/{path.name} is not current: run `make docs`\n")
        else:
            path.write_text(pages()[path], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
