"""SQL of a client: read-only, over the release alone, with caps on rows, bytes, time and memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from quotaloop.cli.mcp.children import Children, Statement
from quotaloop.errors import InputUnreadable, UsageError
from quotaloop.settings import Settings
from tests.cli.conftest import Call
from tests.cli.mcp.served import Asked, text
from tests.cli.mcp.stores import stored
from tests.marts.handmade import Handmade

ENDLESS = "SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range % 7 = b.range % 3"


def test_sql_answers_as_the_command_line_does(asked_by_both: Asked, call: Call) -> None:
    statement = """SELECT hour, tenant, requests, gpu_ms, NULL AS nil, 'é;' AS a, 2 AS a
        FROM usage_hourly ORDER BY ALL; -- all of it;"""
    found = asked_by_both.tool("sql", query=statement)
    document = call("sql", statement, "--json").json
    assert found.structured_content == {"release": 2, "truncated": False, **document}
    assert document["rows"][0] == ["2026-03-02T00:00:00Z", "a", 1, 0.2, None, "é;", 2]
    assert text(found) == "\n".join(line.rstrip() for line in call("sql", statement).out.splitlines())


def test_views_can_be_described(asked: Asked) -> None:
    columns = [row[0] for row in asked.answer("sql", query="DESCRIBE events")["rows"]]
    assert columns[:3] == ["event_id", "ts", "tenant"]


def test_no_row_of_a_wide_table_is_folded(asked: Asked) -> None:
    found = asked.tool("sql", query=f"SELECT {', '.join(f'{10**15} AS column_{n}' for n in range(60))}")
    assert text(found).splitlines()[2].count("1,000,000,000,000,000") == 60


@pytest.mark.parametrize(("most", "truncated"), [(1, True), (4, True), (5, False), (1000, False)])
def test_rows_beyond_the_cap_are_left_out_and_said_to_be(most: int, truncated: bool, asked: Asked) -> None:
    found = asked.answer("sql", query="SELECT requests FROM usage_hourly ORDER BY requests", max_rows=most)
    assert found["rows"] == [[1], [2], [3], [5], [7]][:most]
    assert found["truncated"] is truncated


def test_caps_have_caps(asked: Asked) -> None:
    for arguments in ({"max_rows": 1001}, {"max_rows": 0}, {"timeout_s": 31}, {"timeout_s": 0}):
        assert asked.tool("sql", query="SELECT 1", **arguments).is_error
    assert asked.answer("sql", query="FROM range(5000)", max_rows=1000)["rows"][-1] == [999]


ATTEMPTS = {
    "a file": "SELECT * FROM read_text('{secret}')",
    "a file by its name": "SELECT * FROM '{secret}'",
    "a blob": "SELECT * FROM read_blob('{secret}')",
    "a folder": "SELECT * FROM glob('{folder}/*')",
    "a file in a query": "SELECT * FROM query('SELECT * FROM read_text(''{secret}'')')",
    "a file in a view's name": "SELECT * FROM query_table('{secret}')",
    "a file that is sniffed": "SELECT * FROM sniff_csv('{secret}')",
    "a Parquet file's metadata": "SELECT * FROM parquet_metadata('{secret}')",
    "a file that no release lists": "SELECT * FROM read_parquet('{unlisted}')",
    "the environment": "SELECT * FROM read_text('/proc/self/environ')",
    "a server": "SELECT * FROM read_csv('http://127.0.0.1:9/x')",
    "copy": "COPY (SELECT 1) TO '{folder}/made'",
    "copy behind a select": "SELECT 1; COPY (SELECT 1) TO '{folder}/made'",
    "export": "EXPORT DATABASE '{folder}/made'",
    "attach": "ATTACH '{folder}/made'",
    "install": "INSTALL httpfs",
    "load": "LOAD '{secret}'",
    "a setting": "SET enable_external_access = true",
    "memory": "SET memory_limit = '1TB'",
    "a reset": "RESET lock_configuration",
    "a pragma": "PRAGMA enable_profiling",
    "a call": "CALL pragma_version()",
    "a table": "CREATE TABLE made AS SELECT 1",
    "a view": "CREATE OR REPLACE VIEW usage_hourly AS SELECT 1",
    "a drop": "DROP VIEW usage_hourly",
    "an insert": "INSERT INTO policy_limits VALUES (1)",
    "a variable of Python": "SELECT * FROM statement",
    "secrets": "SELECT * FROM duckdb_secrets()",
    "nothing": "",
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_sql_reads_nothing_but_the_release_and_writes_nothing(
    attempt: str, asked: Asked, looked_at: Handmade, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    unlisted = looked_at.store.path("marts/usage_hourly/unlisted.parquet")
    before = [info.path for info in looked_at.store.files("")]
    told = asked.error("sql", query=attempt.format(secret=secret, folder=tmp_path, unlisted=unlisted))
    assert told.startswith("sql")
    assert "s3cret" not in told
    assert list(tmp_path.iterdir()) == [secret]
    assert [info.path for info in looked_at.store.files("")] == before
    assert asked.answer("sql", query="SELECT count(*) FROM usage_hourly")["rows"] == [[5]]


def test_a_query_that_runs_too_long_is_stopped(asked: Asked) -> None:
    assert (
        asked.error("sql", query=ENDLESS, timeout_s=0.2) == "sql: stopped after 0.2 s; ask for less, or for fewer hours"
    )
    recursive = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t"
    assert "stopped after 0.1 s" in asked.error("sql", query=recursive, timeout_s=0.1)


def test_others_are_answered_while_a_query_runs(asked_by_both: Asked) -> None:
    running = asked_by_both.begun("sql", query=ENDLESS, timeout_s=1)
    assert len(asked_by_both.listed("tools")) == 6
    assert not running.done()
    assert running.result().is_error


def test_a_query_that_takes_too_much_memory_is_stopped(looked_at: Handmade) -> None:
    settings = Settings(store=looked_at.store.url, task_memory="32MB")
    hungry = "SELECT count(*) FROM (SELECT r, count(*) FROM range(1000000000) t(r) GROUP BY r)"
    with pytest.raises(UsageError, match=r"^sql: stopped, it needs more than 32MB of memory$"):
        Statement(Children(), settings, hungry, 1, 30).answer()


def test_values_too_large_to_be_sent_are_measured_before_they_are_fetched(asked: Asked) -> None:
    assert "the answer has 1,000,001 bytes" in asked.error("sql", query="SELECT repeat('x', 1000001)")
    assert "ask for fewer rows" in asked.error("sql", query="SELECT range(1000000) AS numbers")
    assert asked.answer("sql", query="SELECT length(repeat('x', 1000001))")["rows"] == [[1_000_001]]


def test_a_damaged_file_is_said_to_be(tmp_path: Path) -> None:
    made = stored(tmp_path / "store")
    entry = made.day().tables["usage_hourly"][0]
    data = made.store.read(entry.path)
    made.store.delete(entry.path)
    made.store.write_if_absent(entry.path, bytes(255 - byte for byte in data))
    with pytest.raises(InputUnreadable, match="is not the file that was published"):
        Statement(Children(), Settings(store=made.store.url), "FROM usage_hourly", 1, 5).answer()
