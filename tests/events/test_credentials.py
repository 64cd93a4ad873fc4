"""What looks like a credential, what does not, and that no spelling of a match is left after redaction."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotaloop.events.credentials import REDACTED, found_in, may_hold, redact, redact_text
from quotaloop.parsed.block import parse_block
from quotaloop.raw.ranges import Range
from quotaloop.raw.record import Record, encode
from tests.events.bad_lines import CASES, KAFKA_TIME_MS, LATE_BOUND_MS, SECRETS, event

SK, GHP, JWT, BEARER = SECRETS
AWS = "AKIAIOSFODNN7EXAMPLE"
ALL = (SK, GHP, JWT, BEARER, AWS)


@pytest.mark.parametrize("secret", ALL)
@pytest.mark.parametrize("before", ["", " ", "=", ":", '"', "/", "-", "_", ".", "\n", "\u2028", "(", "token="])
def test_a_credential_is_found_with_anything_but_a_letter_or_digit_before(secret: str, before: str) -> None:
    assert found_in(before + secret)
    assert redact_text(f"{before}{secret} end") == f"{before}{REDACTED} end"


@pytest.mark.parametrize("secret", ALL)
@pytest.mark.parametrize("before", ["a", "Z", "7", "\u00e9", "\u4e2d", "\u0661"])
def test_with_a_letter_or_digit_before_it_is_none(secret: str, before: str) -> None:
    assert not found_in(before + secret)


@pytest.mark.parametrize(
    "text",
    [
        "sk-",
        "sk-aB1" + "x" * 16,  # 19 characters
        "sk-" + "aB" * 10,  # no digit
        "sk-" + "a1" * 10,  # no upper case
        "sk-" + "A1" * 10,  # no lower case
        "SK-aB1" + "x" * 17,
        "AKIA" + "A" * 15,
        "AKIA" + "a" * 16,
        "akia" + "A" * 16,
        "ghp_" + "a" * 35,
        "gho_" + "a" * 36,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0",  # two parts
        "eyJhbGciOiJIUzI1NiJ9.abc.def",
        "Bearer abcdefghijklmno",  # 15
        "Bearer  abcdefghijklmnop",  # a blank where the token begins
        "bearer abcdefghijklmnop",
        "Bearer\tabcdefghijklmnop",
        "task-force-Ab1-and-some-more-words",
    ],
)
def test_what_only_resembles_a_credential_is_left_alone(text: str) -> None:
    assert not found_in(text)
    assert redact(f'{{"a":"{text}"}}'.encode()) == f'{{"a":"{text}"}}'.encode()


@pytest.mark.parametrize(
    "text", ["sk-aB1" + "x" * 17, "AKIA" + "A" * 16, "ghp_" + "a" * 36, "eyJ.eyJ.", "Bearer abcdefghijklmnop"]
)
def test_the_shortest_of_each_shape_is_found(text: str) -> None:
    assert found_in(text)


def test_letters_that_are_missing_at_the_beginning_of_a_key_may_come_at_its_end() -> None:
    assert found_in("sk-" + "a" * 500 + "B1")
    assert not found_in("sk-" + "a" * 500 + ".B1")


@pytest.mark.parametrize("secret", ALL)
def test_one_credential_in_the_run_of_what_is_none_is_found(secret: str) -> None:
    assert found_in(f"sk-only-lower-case-letters-here-{secret}")
    assert found_in(f"eyJ-nothing-{secret}")
    assert found_in(f"AKIA-{secret}")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f'{{"a":"{SK}"}}', '{"a":"[redacted]"}'),
        (f'{{"a":"x {SK}, {GHP} y","b":"{JWT}"}}', '{"a":"x [redacted], [redacted] y","b":"[redacted]"}'),
        (f'{{"{SK}":1}}', '{"[redacted]":1}'),
        ('{"a":"Bearer \\"abcdefghijklmno"}', '{"a":"[redacted]"}'),
        (f'{{"a":"\\u0073{SK[1:]}"}}', '{"a":"[redacted]"}'),
        (f'{{"a":"x\\n{SK}"}}', '{"a":"x\\n[redacted]"}'),
        (f'{{"a":"\\u00e9 {SK}"}}', '{"a":"\u00e9 [redacted]"}'),
        (f'{{"a":"\\ud800 {SK}"}}', '{"a":"\\ud800 [redacted]"}'),
        (f'{{"a":"{SK}', '{"a":"[redacted]'),
        (f'{{"a":"x\\n{SK}', '{"a":"x\n[redacted]'),
        (f'{{"a":"x\\u000a{SK}', '{"a":"x\n[redacted]'),
        (f'{{"a":"\\u0073{SK[1:]}', '{"a":"[redacted]'),
        (f'x" {{"a":"\\u0073{SK[1:]}"}}', 'x" {"a":"[redacted]"}'),
        (f'x" {{"a":"\\n{SK}"}}', 'x" {"a":"\n[redacted]"}'),
        (f"{SK}", "[redacted]"),
        (f"{{'a':'{SK}'}}", "{'a':'[redacted]'}"),
        (f'{{"a":"{BEARER}"}} and more', '{"a":"[redacted]"} and more'),
        (f'{{"a":{BEARER}"}}', '{"a":[redacted]"}'),
    ],
)
def test_a_match_stands_as_redacted_however_the_line_is_spelled(line: str, expected: str) -> None:
    assert redact(line.encode()) == expected.encode()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'\xff{"a":"%s"}', b'\xff{"a":"[redacted]"}'),
        (b'{"a":"\xff%s"}', b'{"a":"\xff[redacted]"}'),
        (b'{"a":"\\u4e2d %s"}\xff', b'{"a":"\\u4e2d [redacted]"}\xff'),
        (b'{"a":"\xc3\xa9 %s\xc3"}', b'{"a":"\xc3\xa9 [redacted]\xc3"}'),
    ],
)
def test_lines_that_are_not_utf_8_are_redacted_too(line: bytes, expected: bytes) -> None:
    assert redact(line % SK.encode()) == expected


def test_a_line_without_a_match_stays_as_it_came() -> None:
    for line in (b'{"a":"sk-\\u0041"}', b'{"a":"\\\\ \\/ \\u0041 \\ud800"}', b"\xff\xfe\\u0041", b'"\\', b"eyJ"):
        assert redact(line) == line


def test_what_may_hold_a_credential_is_never_overlooked() -> None:
    assert all(may_hold(secret.encode()) for secret in ALL)
    assert may_hold(b"\\u0073k-")
    assert not may_hold(b'{"event_id":"abc","model":"gpt-4o"}')


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=10), st.sampled_from(ALL), st.text(max_size=10), st.booleans(), st.integers(0, 3))
def test_no_spelling_of_a_valid_string_leaks(before: str, secret: str, after: str, ascii_only: bool, cut: int) -> None:
    value = f"{before} {secret} {after}"
    spelled = json.dumps({"a": value}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    kept = redact(spelled[: len(spelled) - cut] if spelled.endswith(b' "}') or cut < 2 else spelled)
    assert secret.encode() not in kept
    assert REDACTED.encode() in kept


@pytest.mark.parametrize(
    "piece", ["sk-", "sk-a1", "eyJ-", "eyJ.", "AKIA", "-AKIA", "ghp_", "_ghp_", "Bearer ", "\\u0073"]
)
def test_the_search_is_linear_in_the_longest_line(piece: str) -> None:
    """A quadratic search takes minutes of processor time here, a linear one well under a second."""
    text = piece * (65_000 // len(piece))
    begun = time.process_time()
    for _ in range(20):
        found_in(text)
        redact(text.encode())
        assert time.process_time() - begun < 5


def test_no_reject_of_any_case_holds_a_secret() -> None:
    block = b"".join(encode(Record(number, case.kafka_time_ms, case.value)) for number, case in enumerate(CASES))
    result = parse_block(block, Range("t", 0, 0, len(CASES)), late_bound_ms=LATE_BOUND_MS, parser="p")
    rejects = {row["offset"]: row["raw"] for row in result.rejects}
    credentials = [number for number, case in enumerate(CASES) if case.outcome == "credential"]
    assert len(credentials) >= 15
    assert all(REDACTED.encode() in rejects[number] for number in credentials)
    assert not [secret for secret in SECRETS for raw in rejects.values() if secret.encode() in raw]


def test_a_secret_in_the_name_of_an_unknown_field_is_not_counted_by_its_name() -> None:
    line = event("a", **{SK: 1, f"x-{GHP}": 2})
    result = parse_block(
        encode(Record(0, KAFKA_TIME_MS, line)), Range("t", 0, 0, 1), late_bound_ms=LATE_BOUND_MS, parser="p"
    )
    assert result.events.num_rows == 1
    assert result.unknown_fields == {"[redacted]": 1, "x-[redacted]": 1}
