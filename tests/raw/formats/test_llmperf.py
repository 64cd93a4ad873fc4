"""LLMPerf results: every kind of row by hand, and the totals of the real files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from quotaloop.errors import InputUnreadable
from quotaloop.raw.formats import llmperf

RESULTS = Path(__file__).resolve().parents[4] / "shared" / "data" / "llmperf-leaderboard" / "raw_data" / "individual"


def result(**changed: Any) -> dict[str, Any]:
    """A result as LLMPerf writes it: 0.5 s to the first token, 1.5 s in all, 550 and 151 tokens."""
    return {
        "error_code": None,
        "error_msg": "",
        "inter_token_latency_s": 0.009,
        "ttft_s": 0.5,
        "end_to_end_latency_s": 1.5,
        "request_output_throughput_token_per_s": 34.0,
        "number_total_tokens": 701,
        "number_output_tokens": 151,
        "number_input_tokens": 550,
        **changed,
    }


def lines(*results: Any, name: str = "groq_70b.json") -> list[bytes]:
    return list(llmperf.lines(io.BytesIO(json.dumps(results).encode()), name))


def events(*results: Any, name: str = "groq_70b.json") -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(*results, name=name)]


def test_a_result_becomes_one_event_line() -> None:
    assert lines(result(), name="individual/anyscale_13b.json.gz") == [
        b'{"event_id":"llmperf-anyscale_13b-000001","ts":"2023-12-01T00:00:00.000Z","tenant":"llmperf-anyscale",'
        b'"route":"/v1/chat/completions","api_version":"v1","protocol":"sse","operation":"chat",'
        b'"model":"llama-2-13b-chat","status":200,"duration_ms":1500.0,"ttft_ms":500.0,'
        b'"input_tokens":550,"output_tokens":151,"total_tokens":701}'
    ]


def test_each_request_arrives_when_the_one_before_ended() -> None:
    found = events(result(end_to_end_latency_s=1.0004), result(end_to_end_latency_s=0.0006), result())
    assert [event["ts"][-13:] for event in found] == ["00:00:00.000Z", "00:00:01.000Z", "00:00:01.001Z"]


def test_what_is_derived_is_declared() -> None:
    (event,) = events(result())
    measured = {"duration_ms", "ttft_ms", "input_tokens", "output_tokens", "total_tokens"}
    assert set(event) == set(llmperf.DERIVED) | measured


def test_a_denied_request_wanted_its_tokens_and_used_none() -> None:
    counts = {"number_input_tokens": 550, "number_output_tokens": 1, "number_total_tokens": 551}
    (event,) = events(result(error_code=429, ttft_s=0, end_to_end_latency_s=0, **counts))
    assert (event["status"], event["duration_ms"], event["wanted_tokens"]) == (429, 0, 551)
    assert not {"ttft_ms", "input_tokens", "output_tokens", "total_tokens"} & set(event)


@pytest.mark.parametrize(
    ("error_code", "status"),
    [(None, 200), (400, 400), (503, 503), (599, 599), (-100, 502), (-1, 500), (600, 500), (200, 500), ("x", 500)],
)
def test_every_error_code_becomes_a_status(error_code: object, status: int) -> None:
    (event,) = events(result(error_code=error_code))
    assert (event["status"], event["input_tokens"], event["output_tokens"]) == (status, 550, 151)


def test_text_of_prompts_and_answers_is_never_carried_over() -> None:
    (line,) = lines(result(error_code=-100, error_msg="SECRET", GEN_TEXT="SECRET", prompt="SECRET"))
    assert b"SECRET" not in line


@pytest.mark.parametrize("denied", [None, 429])
def test_counts_that_do_not_add_up_go_on_with_their_total_for_the_parser_to_refuse(denied: int | None) -> None:
    (event,) = events(result(error_code=denied, number_total_tokens=700))
    assert (event["input_tokens"], event["output_tokens"], event["total_tokens"]) == (550, 151, 700)


@pytest.mark.parametrize(
    ("changed", "field", "value"),
    [
        ({"end_to_end_latency_s": -1.0}, "duration_ms", -1000.0),
        ({"end_to_end_latency_s": None}, "duration_ms", None),
        ({"end_to_end_latency_s": "1"}, "duration_ms", "1"),
        ({"end_to_end_latency_s": 10**30}, "duration_ms", 10**30),
        ({"ttft_s": 2.0}, "ttft_ms", 2000.0),
        ({"ttft_s": None}, "ttft_ms", None),
        ({"number_input_tokens": 5.5}, "input_tokens", 5.5),
    ],
)
def test_a_senseless_value_is_passed_on_and_stops_neither_the_file_nor_its_clock(
    changed: dict[str, Any], field: str, value: object
) -> None:
    odd, after = events(result(**changed), result())
    assert odd.get(field) == value
    assert after["ts"] in ("2023-12-01T00:00:00.000Z", "2023-12-01T00:00:01.500Z")


def test_a_result_without_error_code_has_no_status() -> None:
    (event,) = events({field: value for field, value in result().items() if field != "error_code"})
    assert "status" not in event


@pytest.mark.parametrize("document", [b"", b"{}", b"[1]", b"[{]", b'["\xff"]', b"[" * 100_000])
def test_a_document_that_is_no_array_of_objects_is_refused(document: bytes) -> None:
    with pytest.raises(InputUnreadable, match=r"groq_70b\.json"):
        list(llmperf.lines(io.BytesIO(document), "groq_70b.json"))


def test_a_file_too_large_to_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llmperf, "MAX_FILE_BYTES", 10)
    with pytest.raises(InputUnreadable, match="more than 10 bytes"):
        lines(result())


@pytest.mark.parametrize("name", ["results.json", "groq_70b.csv", "_70b.json", "a b_70b.json", "x" * 41 + "_7b.json"])
def test_a_name_without_provider_and_size_is_refused(name: str) -> None:
    with pytest.raises(InputUnreadable, match="named PROVIDER_SIZE"):
        lines(result(), name=name)


def test_no_request_and_no_token_of_the_real_results_is_lost() -> None:
    files = sorted(RESULTS.glob("*.json"))
    if not files:
        pytest.skip("the public LLMPerf results are not on this machine")
    statuses: dict[int, int] = {}
    for file in files:
        rows = json.loads(file.read_bytes())
        found = events(*rows, name=file.name)
        assert len(found) == len(rows)
        assert sum(event.get("total_tokens", 0) + event.get("wanted_tokens", 0) for event in found) == sum(
            row["number_total_tokens"] for row in rows
        )
        for event in found:
            assert event.get("input_tokens", 0) + event.get("output_tokens", 0) == event.get("total_tokens", 0)
            assert 0 <= event.get("ttft_ms", 0) <= event["duration_ms"]
            statuses[event["status"]] = statuses.get(event["status"], 0) + 1
    assert statuses == {200: 2306, 429: 392, 500: 1, 502: 146}
