"""Azure LLM traces: rows worked out by hand, and the totals of the real files."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from quotaloop.errors import InputUnreadable
from quotaloop.raw.formats import azure_llm

TRACES = Path(__file__).resolve().parents[4] / "shared" / "data" / "azure-llm-2023"
HEADER = b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n"


def events(content: bytes, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in azure_llm.lines(io.BytesIO(content), name)]


def test_a_code_row_becomes_one_event_line() -> None:
    content = HEADER + b"2023-11-16 18:17:03.9799600,4808,10\r\n"
    assert list(azure_llm.lines(io.BytesIO(content), "AzureLLMInferenceTrace_code.csv")) == [
        b'{"event_id":"azure-code-0000001","ts":"2023-11-16T18:17:03.979Z","tenant":"azure-code-1",'
        b'"route":"/v1/completions","api_version":"v1","status":200,"duration_ms":760.8,"protocol":"sse",'
        b'"operation":"text_completion","model":"azure-llm-code","input_tokens":4808,"output_tokens":10,"ttft_ms":535.8}'
    ]


def test_a_last_row_without_newline_counts_and_conversations_are_chat() -> None:
    content = HEADER + b"2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50,396,0"
    first, second = events(content, "traces/AzureLLMInferenceTrace_conv.csv.gz")
    assert (first["event_id"], first["ts"]) == ("azure-conv-0000001", "2023-11-16T18:15:46.680Z")
    assert (first["operation"], first["route"], first["model"]) == ("chat", "/v1/chat/completions", "azure-llm-conv")
    assert (second["event_id"], second["ts"]) == ("azure-conv-0000002", "2023-11-16T18:15:50.000Z")
    assert (second["duration_ms"], "ttft_ms" in second) == (69.6, False)


def test_what_is_derived_is_declared() -> None:
    (event,) = events(HEADER + b"2023-11-16 18:17:03.9,1,2\n", "code.csv")
    assert set(event) == set(azure_llm.DERIVED) | {"ts", "input_tokens", "output_tokens"}


def test_a_header_alone_gives_no_event() -> None:
    assert events(HEADER, "code.csv") == []


@pytest.mark.parametrize("header", [b"", b"\n", b"\xef\xbb\xbf" + HEADER, b"timestamp,ContextTokens,GeneratedTokens\n"])
def test_another_header_is_refused_at_line_1(header: bytes) -> None:
    with pytest.raises(InputUnreadable, match=r"code\.csv, line 1: the header"):
        events(header, "code.csv")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (b"2023-11-16 18:17:03.9,1", "2 columns instead of 3"),
        (b"2023-11-16 18:17:03.9,1,2,3", "4 columns instead of 3"),
        (b"", "1 columns instead of 3"),
        (b"2023-11-16 18:17:03.9,-1,2", "ContextTokens is not a whole number"),
        (b"2023-11-16 18:17:03.9,1,2.0", "GeneratedTokens is not a whole number"),
        (b"2023-11-16 18:17:03.9,1, 2", "GeneratedTokens is not a whole number"),
        (b"2023-11-16 18:17:03.9,1_0,2", "ContextTokens is not a whole number"),
        (b"2023-11-16 18:17:03.9,1," + b"9" * 5000, "GeneratedTokens is not a whole number"),
        (b"2023-11-16T18:17:03.9,1,2", "TIMESTAMP is not like"),
        (b"2023-13-16 18:17:03.9,1,2", "TIMESTAMP is not a date and time that exists"),
    ],
)
def test_a_row_that_is_none_is_refused_with_file_and_line(row: bytes, complaint: str) -> None:
    with pytest.raises(InputUnreadable, match=rf"my_conv\.csv, line 3: {complaint}"):
        events(HEADER + b"2023-11-16 18:17:03.9,1,2\r\n" + row + b"\r\n", "my_conv.csv")


@pytest.mark.parametrize("name", ["trace.csv", "code_and_conv.csv", "encoded.csv", "code/trace.csv"])
def test_a_name_that_does_not_say_which_trace_it_is_is_refused(name: str) -> None:
    with pytest.raises(InputUnreadable, match="says code or conv"):
        events(HEADER, name)


@pytest.mark.parametrize(
    ("kind", "requests", "input_tokens", "output_tokens"),
    [("code", 8819, 18_059_974, 245_896), ("conv", 19366, 22_361_870, 4_088_665)],
)
def test_no_request_and_no_token_of_the_real_trace_is_lost(
    kind: str, requests: int, input_tokens: int, output_tokens: int
) -> None:
    trace = TRACES / f"AzureLLMInferenceTrace_{kind}.csv"
    if not trace.exists():
        pytest.skip(f"the public trace {trace.name} is not on this machine")
    found = events(trace.read_bytes(), trace.name)
    assert len(found) == len({event["event_id"] for event in found}) == requests
    assert sum(event["input_tokens"] for event in found) == input_tokens
    assert sum(event["output_tokens"] for event in found) == output_tokens
    assert all(0 <= event["ttft_ms"] <= event["duration_ms"] for event in found)
    tenants = Counter(event["tenant"] for event in found)
    assert sorted(tenants) == [f"azure-{kind}-{number}" for number in range(1, 9)]
    assert 0.48 < tenants[f"azure-{kind}-1"] / requests < 0.52
