"""Events as columns: order, types, and what is derived from a row, worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from quotaloop import latency
from quotaloop.events.columns import (
    CONTENT_SCHEMA,
    COORDINATES,
    EVENTS_SCHEMA,
    from_events,
    inter_token_micros,
    with_derived,
)
from quotaloop.events.event import Event, Parsed
from quotaloop.events.parser import parse_line
from tests.events.bad_lines import event


def an_event(**values: object) -> Event:
    result = parse_line(event("e", **values))
    assert isinstance(result, Parsed), result
    return result.event


def derived(*events: Event) -> list[dict[str, object]]:
    places = [["t"] * len(events), [0] * len(events), [0] * len(events), list(range(len(events)))]
    coordinates = pa.table(
        [pa.array(column, kind) for column, (_, kind) in zip(places, COORDINATES, strict=True)],
        schema=pa.schema(list(COORDINATES)),
    )
    table = with_derived(from_events(events), coordinates)
    assert table.schema == EVENTS_SCHEMA
    names = ["hour", "itl_us", "duration_bucket", "ttft_bucket", "itl_bucket"]
    return table.select(names).to_pylist()


def test_the_columns_are_the_fields_of_the_event_in_its_order() -> None:
    assert tuple(CONTENT_SCHEMA.names) == Event.__struct_fields__


def test_an_event_comes_out_of_its_columns_as_it_went_in() -> None:
    (row,) = from_events([an_event(model="m", input_tokens=3, ttft_ms=1)]).to_pylist()
    assert row["ts"] == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert (row["event_id"], row["model"], row["input_tokens"], row["ttft_us"]) == ("e", "m", 3, 1_000)
    assert (row["duration_us"], row["denied_by"], row["wanted_tokens"], row["seq"]) == (12_500, None, None, None)


def test_no_events_are_columns_without_rows() -> None:
    assert from_events([]).schema == CONTENT_SCHEMA
    assert derived() == []


def test_what_is_derived_from_a_row() -> None:
    """g**b at 1.0202: 2 us is bucket 35 (g**34 = 1.974, g**35 = 2.014), 3 us is 55 (g**54 = 2.944, g**55 = 3.004)."""
    rows = derived(
        an_event(ts="2026-03-01T10:59:59.999Z", duration_ms=0.007, ttft_ms=0.001, output_tokens=2, reasoning_tokens=2),
        an_event(ts="2026-03-01T11:00:00Z", duration_ms=0.003, ttft_ms=0.003, output_tokens=1),
        an_event(ts=1_262_304_000_000, duration_ms=0, output_tokens=5),
    )
    assert rows == [
        {
            "hour": datetime(2026, 3, 1, 10, tzinfo=UTC),
            "itl_us": 2,  # 6 us over 3 gaps
            "duration_bucket": latency.bucket(7),
            "ttft_bucket": 0,
            "itl_bucket": 35,
        },
        {
            "hour": datetime(2026, 3, 1, 11, tzinfo=UTC),
            "itl_us": None,  # one token has no gap
            "duration_bucket": 55,
            "ttft_bucket": 55,
            "itl_bucket": None,
        },
        {
            "hour": datetime(2010, 1, 1, 0, tzinfo=UTC),
            "itl_us": None,  # no first token
            "duration_bucket": 0,
            "ttft_bucket": None,
            "itl_bucket": None,
        },
    ]


def test_the_first_token_at_once_is_not_the_same_as_no_first_token() -> None:
    with_first, without = derived(an_event(ttft_ms=0, output_tokens=2), an_event(output_tokens=2))
    assert (with_first["ttft_bucket"], with_first["itl_us"]) == (0, 12_500)
    assert (without["ttft_bucket"], without["itl_us"]) == (None, None)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, latency.MAX_MICROS), st.floats(0, 1), st.integers(2, 2**41)), min_size=1)
    | st.lists(st.tuples(st.integers(0, 40), st.floats(0, 1), st.integers(2, 9)), min_size=1)
)
def test_the_gap_between_tokens_is_rounded_alike_for_one_row_and_for_many(rows: list[tuple[int, float, int]]) -> None:
    durations = [duration for duration, _, _ in rows]
    firsts = [int(duration * share) for duration, share, _ in rows]
    tokens = [count for _, _, count in rows]
    many = inter_token_micros(
        np.asarray(durations, dtype=np.int64), np.asarray(firsts, dtype=np.int64), np.asarray(tokens, dtype=np.int64)
    )
    assert many.tolist() == [latency.inter_token_micros(*row) for row in zip(durations, firsts, tokens, strict=True)]
