"""A release as views: every table, nothing else to read, nothing to change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import duckdb
import pytest

from quotaloop.errors import UsageError
from quotaloop.events.fields import FIELDS
from quotaloop.marts.release import FileEntry, Release
from quotaloop.marts.tables import PUBLISHED
from quotaloop.marts.views import named, open_views, query
from quotaloop.storage.local import LocalStore
from tests.marts.handmade import DAY, HOUR, Handmade, Row, at

DERIVED = ("events", "quota_decisions", "rate_limit_against_policy")


@pytest.fixture
def made(tmp_path: Path) -> Handmade:
    return Handmade(tmp_path / "a store's")


@contextmanager
def views(made: Handmade, release: Release | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_views(made.store, release or made.release()) as connection:
        yield connection


def event(event_id: str, hour: int = 0, offset: int = 0, **more: object) -> Row:
    """A parsed event of the first raw file."""
    row = {"event_id": event_id, "ts": at(hour), "hour": at(hour), "topic": "t", "partition": 0, "range_start": 0}
    return {**row, "offset": offset, **more}


def excluded(outcome: str, hour: int = 0, offset: int = 0, **more: object) -> Row:
    """A line that is no event of its own."""
    row = {"hour": at(hour), "topic": "t", "partition": 0, "range_start": 0, "offset": offset, "outcome": outcome}
    return {**row, **more}


def ids(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT event_id FROM events ORDER BY event_id").fetchall()]


class Opened:
    """Views over one row, beside a file that no release lists and one that is not of the store."""

    def __init__(self, folder: Path) -> None:
        made = Handmade(folder / "store")
        self._listed = made.add("usage_hourly", {"hour": at(0), "tenant": "a"}, hours=[DAY])
        self._unlisted = made.write("usage_hourly", [{"tenant": "unlisted"}], [DAY], "")
        (folder / "secret").write_text("a,b\n1,2\n")
        self._views = open_views(made.store, made.release())
        self.connection = self._views.__enter__()
        self._folder, self._store = folder, made.store
        self.before = self.bytes()

    def filled(self, statement: str) -> str:
        """The statement with the names of these files."""
        paths = {name: self._store.path(entry.path) for name, entry in self._entries().items()}
        return statement.format(folder=self._folder, secret=self._folder / "secret", **paths)

    def bytes(self) -> dict[str, bytes]:
        """Every file there is."""
        return {path.as_posix(): path.read_bytes() for path in self._folder.rglob("*") if path.is_file()}

    def close(self) -> None:
        """No more views."""
        self._views.__exit__(None, None, None)

    def _entries(self) -> dict[str, FileEntry]:
        return {"listed": self._listed, "unlisted": self._unlisted}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    opened = Opened(tmp_path_factory.mktemp("opened"))
    yield opened
    opened.close()


def test_every_table_has_a_view_of_its_columns_though_it_has_no_file(made: Handmade) -> None:
    with views(made) as connection:
        for name, table in PUBLISHED.items():
            found = query(connection, f"SELECT * FROM {name}")
            assert (found.columns, found.fetchall()) == ([column.name for column in table.columns], []), name
        for name in DERIVED:
            assert query(connection, f"SELECT * FROM {name}").fetchall() == [], name


def test_a_view_has_the_same_types_with_and_without_files(made: Handmade) -> None:
    with views(made) as connection:
        empty = {name: query(connection, f"SELECT * FROM {name}").types for name in [*PUBLISHED, *DERIVED]}
    for name in PUBLISHED:
        if name != "ingest_ledger":
            made.add(name, {})
    made.add_ledger({})
    made.add("events", event("a"), hours=[DAY])
    with views(made) as connection:
        filled = {name: query(connection, f"SELECT * FROM {name}").types for name in [*PUBLISHED, *DERIVED]}
        assert {name: len(query(connection, f"FROM {name}").fetchall()) for name in PUBLISHED} == dict.fromkeys(
            PUBLISHED, 1
        )
    assert filled == empty


def test_a_view_holds_the_files_of_its_release_and_no_others(made: Handmade) -> None:
    made.add("usage_hourly", {"hour": at(0), "tenant": "a", "requests": 1}, hours=[DAY])
    first = made.publish()
    made.add("usage_hourly", {"hour": at(24), "tenant": "b", "requests": 2}, hours=[DAY + 24 * HOUR])
    made.write("usage_hourly", [{"tenant": "unlisted"}], [DAY], "")
    second = made.publish()
    statement = "SELECT tenant, requests FROM usage_hourly ORDER BY hour"
    with views(made, first) as old, views(made, second) as new:
        assert query(old, statement).fetchall() == [("a", 1)]
        assert query(new, statement).fetchall() == [("a", 1), ("b", 2)]


class Counting(LocalStore):
    """A store that remembers which files of tables were wanted on this machine."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.fetched: list[str] = []

    def all_on_disk(self, paths: Sequence[str]) -> AbstractContextManager[list[Path]]:
        self.fetched.extend(path for path in paths if path.endswith(".parquet"))
        return super().all_on_disk(paths)


def test_days_before_a_date_are_not_fetched_where_that_is_asked_for(made: Handmade) -> None:
    early, late = (made.add("usage_hourly", {"hour": at(hour)}, hours=[DAY + hour * HOUR]) for hour in (23, 24))
    store = Counting(made.store.root)
    with open_views(store, made.release(), tables=["usage_hourly"], since="2026-03-03") as connection:
        assert connection.execute("SELECT count(*) FROM usage_hourly").fetchall() == [(1,)]
    assert (store.fetched, early.path in store.fetched) == ([late.path], False)


@pytest.mark.parametrize(
    ("tables", "fetched"),
    [
        ([], []),
        (["usage_hourly"], ["usage_hourly"]),
        (["usage_hourly", "no_such_table"], ["usage_hourly"]),
        (["rate_limit_against_policy"], ["rate_limit_usage"]),
        (["events"], ["events", "exclusions"]),
        (["ingest_ledger"], ["ingest_ledger"]),
        (None, ["events", "exclusions", "ingest_ledger", "rate_limit_usage", "stamp_runs", "usage_hourly"]),
    ],
)
def test_only_the_files_of_tables_that_will_be_read_are_fetched_each_once(
    made: Handmade, tables: list[str] | None, fetched: list[str]
) -> None:
    entries = {name: made.add(name, {"hour": at(0)}, hours=[DAY]) for name in ("usage_hourly", "rate_limit_usage")}
    entries |= {"events": made.add("events", event("a"), hours=[DAY])}
    entries |= {name: made.add(name, {"hour": at(0)}, hours=[DAY]) for name in ("exclusions", "stamp_runs")}
    made.day(DAY + 24 * HOUR).tables["events"] = [entries["events"]]
    entries["ingest_ledger"] = made.add_ledger({})
    store = Counting(made.store.root)
    with open_views(store, made.release(), tables=tables) as connection:
        assert sorted(store.fetched) == sorted(entries[name].path for name in fetched)
        for name in entries.keys() - {"exclusions", "stamp_runs"}:
            if name in fetched:
                query(connection, f"FROM {name}").fetchall()


def test_a_table_that_was_not_asked_for_can_be_described_and_not_be_read(made: Handmade) -> None:
    made.add("usage_hourly", {"hour": at(0)}, hours=[DAY])
    made.add("events", event("a"), hours=[DAY])
    described = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name IN ({}) ORDER BY ALL"
    statement = described.format(", ".join(f"'{name}'" for name in [*PUBLISHED, *DERIVED]))
    with open_views(made.store, made.release()) as connection:
        wanted = query(connection, statement).fetchall()
        views = query(connection, "SHOW TABLES").fetchall()
    with open_views(made.store, made.release(), tables=[]) as connection:
        assert query(connection, statement).fetchall() == wanted
        names = {name for (name,) in query(connection, "SHOW TABLES").fetchall()}
        assert names - {name for (name,) in views} == set()
        for name in [*PUBLISHED, "events", "rate_limit_against_policy"]:
            for read in (f"FROM {name}", f"SELECT count(*) FROM {name}", f"SELECT 1 WHERE EXISTS (FROM {name})"):
                with pytest.raises((UsageError, duckdb.Error), match="is not open; name it in the statement"):
                    query(connection, read).fetchall()


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("SELECT 1", set()),
        ("SHOW TABLES", set()),
        ("FROM usage_hourly", {"usage_hourly"}),
        ("TABLE Usage_Hourly", {"usage_hourly"}),
        ('SELECT * FROM main."usage_hourly" AS u', {"usage_hourly"}),
        ("SUMMARIZE usage_hourly", {"usage_hourly"}),
        ("SELECT (SELECT max(ok) FROM usage_daily) FROM usage_hourly", {"usage_daily", "usage_hourly"}),
        ("WITH x AS (FROM events) SELECT * FROM x WHERE hour IN (SELECT hour FROM y)", {"events", "x", "y"}),
        ("FROM events UNION ALL FROM usage_hourly", {"events", "usage_hourly"}),
        ("FROM (UNPIVOT usage_hourly ON ok INTO NAME n VALUE v)", {"usage_hourly"}),
        ("FROM query('FROM usage_hourly')", None),
        ("SELECT * FROM events, query_table('usage_hourly')", None),
    ],
)
def test_what_a_select_reads_is_known_before_it_runs(statement: str, tables: set[str] | None) -> None:
    assert named(statement) == tables


@pytest.mark.parametrize("statement", ["", "SELEC 1", "SELECT 1; SELECT 2", "DROP VIEW x", "EXPLAIN SELECT 1"])
def test_what_is_no_select_is_refused_before_anything_is_read(statement: str) -> None:
    with pytest.raises(UsageError, match=r"\Asql[^\n]*\Z"):
        named(statement)


def test_times_are_utc(made: Handmade) -> None:
    made.add("usage_hourly", {"hour": at(23), "tenant": "a"}, hours=[DAY + 23 * HOUR])
    with views(made) as connection:
        statement = "SELECT hour::VARCHAR, date_trunc('day', hour)::VARCHAR FROM usage_hourly"
        assert query(connection, statement).fetchall() == [("2026-03-02 23:00:00+00", "2026-03-02 00:00:00+00")]


def test_events_have_the_fields_of_the_event_and_where_it_lies(made: Handmade) -> None:
    """Exactly the contract's columns; milliseconds are made of whole microseconds."""
    row = event("a", offset=7, duration_us=12_500, ttft_us=None, gpu_us=1, itl_us=5)
    made.add("events", row, hours=[DAY])
    fields = [field.name for field in FIELDS]
    with views(made) as connection:
        found = query(connection, "SELECT * FROM events")
        assert found.columns[-4:] == ["hour", "topic", "partition", "offset"]
        assert sorted(found.columns[:-4]) == sorted(fields)
        statement = 'SELECT duration_ms, ttft_ms, gpu_ms, topic, "partition", "offset" FROM events'
        assert query(connection, statement).fetchall() == [(12.5, None, 0.001, "t", 0, 7)]


def test_events_leave_out_lines_that_count_as_something_else(made: Handmade) -> None:
    made.add("events", *(event(name, offset=number) for number, name in enumerate("abcd")), hours=[DAY])
    made.add("events", event("e", offset=1, topic="u"), event("f", offset=2, partition=1), hours=[DAY])
    rows = [excluded("duplicate", offset=1), excluded("conflicting_duplicate", offset=2)]
    made.add("exclusions", *rows, hours=[DAY])
    with views(made) as connection:
        assert ids(connection) == ["a", "d", "e", "f"]  # the same offset elsewhere is another line


def test_exclusions_of_every_day_count_and_only_those_of_the_release(made: Handmade) -> None:
    tomorrow = DAY + 24 * HOUR
    made.add("events", event("a"), event("b", 24, 1), event("c", 24, 2), hours=[DAY, tomorrow])
    made.add("exclusions", excluded("duplicate"), hours=[DAY])
    made.add("exclusions", excluded("duplicate", 24, 1), hours=[tomorrow])
    made.write("exclusions", [excluded("duplicate", 24, 2)], [tomorrow], "")
    with views(made) as connection:
        assert ids(connection) == ["c"]


def test_one_file_of_events_that_two_days_list_is_read_once(made: Handmade) -> None:
    """A raw file's events lie in one file, which is listed with its own hours on each of its days."""
    entry = made.add("events", event("a", 23), event("b", 24), hours=[DAY + 23 * HOUR])
    tomorrow = DAY + 24 * HOUR
    made.day(tomorrow).tables["events"] = [type(entry)(entry.path, 2, entry.bytes, entry.sha256, (tomorrow,))]
    for frozen in (False, True):
        made.day(tomorrow).frozen = frozen
        with views(made) as connection:
            assert ids(connection) == ["a", "b"]


def test_events_that_came_for_a_frozen_day_are_left_out(made: Handmade) -> None:
    """They are late: the day, whose raw is gone, lists other files."""
    made.add("events", event("kept"), hours=[DAY])
    made.day(DAY).frozen = True
    made.add("events", event("late", 0, 5), event("new", 24, 6), hours=[DAY + 24 * HOUR])
    with views(made) as connection:
        assert ids(connection) == ["kept", "new"]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO usage_hourly SELECT * FROM usage_hourly",
        "DELETE FROM quota_decisions",
        "UPDATE policy_limits SET burst = 1",
        "DROP VIEW usage_hourly",
        "CREATE TABLE x (a INT)",
        "COPY (SELECT 1) TO '{folder}/new.csv'",
        "COPY (SELECT 1 AS a) TO '{listed}' (FORMAT parquet)",
        "EXPORT DATABASE '{folder}/new'",
        "ATTACH '{folder}/new.db'",
        "LOAD httpfs",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "RESET allowed_paths",
        "SET VARIABLE a = 1",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "EXPLAIN ANALYZE SELECT 1",
        "BEGIN",
        "PREPARE x AS SELECT 1",
        "CHECKPOINT",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP VIEW usage_hourly",
        "",
        ";",
        "-- nothing",
    ],
)
def test_only_one_select_is_taken(opened: Opened, statement: str) -> None:
    with pytest.raises(UsageError, match=r"^sql takes one SELECT\Z"):
        query(opened.connection, opened.filled(statement))
    assert query(opened.connection, "SELECT count(*) FROM usage_hourly").fetchall() == [(1,)]
    assert opened.bytes() == opened.before


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('{secret}')",
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM read_blob('{secret}')",
        "SELECT * FROM read_json('{secret}')",
        "SELECT * FROM read_parquet('{unlisted}')",
        "SELECT * FROM parquet_schema('{unlisted}')",
        "SELECT * FROM sniff_csv('{secret}')",
        "SELECT * FROM '{unlisted}'",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM query('FROM read_text(''{secret}'')')",
        "SELECT getenv('HOME')",
        "WITH x AS (DELETE FROM usage_hourly RETURNING *) SELECT * FROM x",
    ],
)
def test_a_select_reaches_no_other_file(opened: Opened, statement: str) -> None:
    refused = r"Permission Error|does not exist|Can only delete"
    with pytest.raises((UsageError, duckdb.Error), match=refused):
        query(opened.connection, opened.filled(statement)).fetchall()
    assert opened.bytes() == opened.before


def test_a_select_sees_nothing_of_this_process(made: Handmade) -> None:
    local_table = duckdb.sql("SELECT 42 AS answer").arrow()
    assert local_table is not None
    with views(made) as connection:
        for name in ("local_table", "made", "sql", "statements"):
            with pytest.raises(UsageError, match="does not exist"):
                query(connection, f"SELECT * FROM {name}")


@pytest.mark.parametrize(
    "setting", ["enable_external_access = true", "allowed_paths = ['/etc/passwd']", "TimeZone = 'Asia/Tokyo'"]
)
def test_what_may_be_read_and_how_is_locked(made: Handmade, setting: str) -> None:
    with views(made) as connection, pytest.raises(duckdb.Error):
        connection.execute(f"SET {setting}")


def test_what_is_wrong_with_a_select_is_said_in_one_line(made: Handmade) -> None:
    with views(made) as connection:
        for statement in ("SELECT nothing\nFROM usage_hourly", "SELECT * FROM nowhere", "SELEC 1", "SELECT"):
            with pytest.raises(UsageError, match=r"\Asql: [^\n]+\Z") as caught:
                query(connection, statement)
            assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["st*re", "st?re", "st[o]re"])
def test_a_store_is_not_mistaken_for_its_neighbour(tmp_path: Path, name: str) -> None:
    for folder in ("store", name):
        made = Handmade(tmp_path / folder)
        made.add("usage_hourly", {"hour": at(0), "tenant": "a", "model": folder}, hours=[DAY])
    with views(made) as connection:
        assert query(connection, "SELECT model FROM usage_hourly").fetchall() == [(name,)]


def test_a_store_may_lie_in_a_folder_of_any_name(tmp_path: Path) -> None:
    for name in ("a b", "it's", "100%", "a%20b", "[x]", "b?", "\u00e9 \u4e2d"):
        made = Handmade(tmp_path / name)
        made.add("events", event("a"), hours=[DAY])
        made.add("exclusions", excluded("duplicate", offset=1), hours=[DAY])
        made.day(DAY).frozen = True
        with views(made) as connection:
            assert ids(connection) == ["a"], name
    assert isinstance(made.store, LocalStore)
