"""What is known of a request before its handler runs: headers, query and body, whatever bytes they hold."""

from __future__ import annotations

from typing import Any

import pytest

from quotaloop.edge.arrival import Arrival


def arrival(*headers: tuple[bytes, bytes], query: bytes = b"", body: bytes | None = None) -> Arrival:
    """Of a POST."""
    return Arrival(protocol="http", method="POST", path="/", query_string=query, raw_headers=headers, body=body)


def test_the_first_of_a_header_counts_and_a_missing_one_is_none() -> None:
    made = arrival((b"x-one", b"1"), (b"x-two", b"2"), (b"x-one", b"3"), (b"x-empty", b""))
    assert [made.header(name) for name in (b"x-one", b"x-two", b"x-empty", b"x-none")] == ["1", "2", "", None]
    assert made.headers == {"x-one": "1", "x-two": "2", "x-empty": ""}
    assert made.header(b"x-one") == "1"  # headers can be read again


def test_a_header_that_is_a_list_is_read_from_all_its_lines() -> None:
    made = arrival((b"accept", b"a/b"), (b"x", b"y"), (b"accept", b"c/d;q=0"))
    assert (made.listed(b"accept"), made.listed(b"x"), made.listed(b"none")) == ("a/b, c/d;q=0", "y", "")


def test_header_bytes_stand_for_characters_of_latin_1() -> None:
    every = bytes(range(256))
    assert arrival((b"x", every)).header(b"x") == "".join(map(chr, range(256)))
    assert arrival((b"x", b"\xc3\xa9")).headers["x"] == "\u00c3\u00a9"


def test_the_first_of_a_parameter_counts_and_one_without_a_value_is_empty() -> None:
    assert arrival(query=b"a=1&b=&a=2&c&=3").query == {"a": "1", "b": "", "c": "", "": "3"}
    assert arrival().query == {}


def test_a_query_is_decoded_as_utf_8_with_plus_for_a_blank_and_a_mark_for_what_is_none() -> None:
    assert arrival(query=b"a=%C3%A9+b&c=%ff&d=%00&e=%zz&f=%ED%A0%80").query == {
        "a": "\u00e9 b",
        "c": "\ufffd",
        "d": "\0",
        "e": "%zz",
        "f": "\ufffd\ufffd\ufffd",  # half a surrogate pair
    }
    assert arrival(query=b"\xff\x00=\xe9").query == {"\u00ff\0": "\u00e9"}


def test_a_huge_query_is_read() -> None:
    assert len(arrival(query=b"&".join(b"p%d=1" % number for number in range(20_000))).query) == 20_000
    assert arrival(query=b"&" * 100_000).query == {}


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b'{"a": [1, null]}', {"a": [1, None]}),
        (b"[]", []),
        (b" 5 ", 5),
        (b"null", None),
        (b"\xef\xbb\xbf{}", {}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'"\\ud800"', "\ud800"),
        (b'"\\u0000"', "\0"),
        (b"1e400", float("inf")),
        (b"12345678901234567890123", 12345678901234567890123),
        ('{"a": 1}'.encode("utf-16"), {"a": 1}),
        (b"", None),
        (None, None),
        (b"{", None),
        (b"{} {}", None),
        (b'"\xff"', None),
        (b"\0", None),
        (b"[" * 250_000, None),
        (b'{"a":' * 50_000, None),
        (b"1" * 5_000, None),  # more digits than Python converts
    ],
)
def test_a_body_is_json_or_none(body: bytes | None, document: Any) -> None:
    assert arrival(body=body).json() == document


def test_a_body_is_parsed_once() -> None:
    made = arrival(body=b'{"a": 1}')
    first = made.json()
    made.body = b"changed"
    assert made.json() is first
    broken = arrival(body=b"{")
    assert broken.json() is None
    broken.body = b"{}"
    assert broken.json() is None
