"""Which version a request asks for: where it may say so, in which order, in which words, and what it is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from quotaloop.edge.arrival import Arrival
from quotaloop.edge.versions import Version, Versions

V1, V2, BETA = Version("v1", ("1.0",)), Version("v2", ("2.0", "2.1")), Version("beta")
VERSIONS = Versions([V1, V2, BETA], default="v1", latest="v2")


def request(*headers: tuple[bytes, bytes], query: bytes = b"", body: bytes | None = None) -> Arrival:
    """To a path without a version."""
    return Arrival(protocol="http", method="POST", path="/api/chat", query_string=query, raw_headers=headers, body=body)


def asked(arrival: Arrival, in_path: str | None = None) -> tuple[str | None, str, str | None]:
    """The name of the version, where it was said, and the word."""
    found = VERSIONS.resolve(arrival, in_path)
    return found.version.name if found.version else None, found.source, found.word


EVERYWHERE: dict[str, Any] = {"query": b"version=2.1", "body": b'{"version": "beta"}'}
HEADER, ACCEPT = (b"api-version", b"1.0"), (b"accept", b"application/json;version=2.0")


def test_the_path_comes_before_the_header_before_the_media_type_before_the_query_before_the_body() -> None:
    assert asked(request(HEADER, ACCEPT, **EVERYWHERE), "V2") == ("v2", "path", "V2")
    assert asked(request(HEADER, ACCEPT, **EVERYWHERE)) == ("v1", "header", "1.0")
    assert asked(request(ACCEPT, **EVERYWHERE)) == ("v2", "accept", "2.0")
    assert asked(request(**EVERYWHERE)) == ("v2", "query", "2.1")
    assert asked(request(body=b'{"version": "beta"}')) == ("beta", "body", "beta")
    assert asked(request()) == ("v1", "default", None)


def test_who_says_a_version_that_there_is_not_is_not_listened_to_further_on() -> None:
    assert asked(request((b"api-version", b"3"), ACCEPT, **EVERYWHERE)) == (None, "header", "3")
    assert asked(request(HEADER), "v3") == (None, "path", "v3")
    assert asked(request(query=b"version=3", body=b'{"version": "beta"}')) == (None, "query", "3")


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("v1", "v1"),
        ("V1", "v1"),
        ("1", "v1"),
        ("1.0", "v1"),
        ("v1.0", "v1"),
        ("v2.1", "v2"),
        ("latest", "v2"),
        ("LATEST", "v2"),
        ("Beta", "beta"),
        ("vlatest", None),
        ("vbeta", None),
        ("vv1", None),
        ("v", None),
        ("", None),
        ("1.00", None),
        ("v 1", None),
        ("v1\0", None),
        ("v1\r\nset-cookie: a=b", None),
        ("v\u00b2", None),  # is a digit to str.isdigit
        ("\u0662", None),
        ("\ud800", None),
        ("unknown", None),
        ("v1" * 100_000, None),
    ],
)
def test_a_leading_v_and_case_do_not_matter_and_nothing_else_is_guessed(word: str, name: str | None) -> None:
    found = VERSIONS.find(word)
    assert (found.name if found else None) == name
    assert asked(request(), word) == (name, "path", word)


def test_the_words_of_a_path_are_just_those_that_mean_a_version() -> None:
    words = sorted(VERSIONS.words())
    assert words == ["1", "1.0", "2", "2.0", "2.1", "beta", "latest", "v1", "v1.0", "v2", "v2.0", "v2.1"]
    assert all(VERSIONS.find(word) for word in words)


@pytest.mark.parametrize(
    ("accept", "word"),
    [
        (b"application/json;version=2", "2"),
        (b"application/json; Version = 2.1 ;q=0.5", "2.1"),
        (b'application/json;version="2.0"', "2.0"),
        (b"text/html, application/vnd.acme+json;q=0.8;version=v2, */*;version=9", "v2"),
        (b"application/json;charset=utf-8;version=\xe9", "\xe9"),
    ],
)
def test_a_media_type_says_a_version_by_its_parameter_the_first_of_several(accept: bytes, word: str) -> None:
    assert asked(request((b"accept", accept)))[1:] == ("accept", word)


@pytest.mark.parametrize(
    "accept",
    [b"*/*", b"application/json;version=", b'application/json;version=""', b"a/b;myversion=2", b"version=2", b""],
)
def test_a_media_type_without_a_version_says_nothing(accept: bytes) -> None:
    assert asked(request((b"accept", accept), query=b"version=2"))[1] == "query"


def test_media_types_in_several_lines_are_one_list() -> None:
    lines = ((b"accept", b"text/html"), (b"accept", b"application/json;version=2"))
    assert asked(request(*lines)) == ("v2", "accept", "2")


def test_the_first_of_a_header_or_parameter_that_came_twice_counts() -> None:
    assert asked(request((b"api-version", b"2"), (b"api-version", b"1"))) == ("v2", "header", "2")
    assert asked(request(query=b"version=2&version=1")) == ("v2", "query", "2")


def test_the_first_of_two_names_of_a_parameter_counts_wherever_it_stands() -> None:
    assert asked(request(query=b"api_version=1&version=2")) == ("v2", "query", "2")
    assert asked(request(query=b"api_version=1&q=version")) == ("v1", "query", "1")


def test_an_empty_header_or_parameter_asks_for_a_version_that_there_is_not() -> None:
    assert asked(request((b"api-version", b"  "))) == (None, "header", "")
    assert asked(request(query=b"version=")) == (None, "query", "")
    assert asked(request(query=b"version")) == (None, "query", "")


def test_a_query_is_percent_decoded_whatever_its_bytes() -> None:
    assert asked(request(query=b"version=%76%32"))[0] == "v2"
    assert asked(request(query=b"version=2%00"))[0] is None
    assert asked(request(query=b"version=%ff%fe"))[2] == "\ufffd\ufffd"
    assert asked(request(query=b"%%%&\xff=\xff&version=2"))[0] == "v2"


@pytest.mark.parametrize(
    ("document", "name"),
    [
        ({"version": 2}, "v2"),
        ({"version": 2.1}, "v2"),
        ({"version": "v1"}, "v1"),
        ({"version": 10**4_000}, None),
        ({"version": "\ud800"}, None),
    ],
)
def test_a_body_says_a_version_as_a_string_or_number(document: Any, name: str | None) -> None:
    found = asked(request(body=json.dumps(document).encode()))
    assert (found[0], found[1]) == (name, "body")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"version": true}',
        b'{"version": null}',
        b'{"version": ["v2"]}',
        b'["version", "v2"]',
        b'"v2"',
        b'{"version": "v2"',
        b'{"version": "v2"}\xff',
        b'{"version": 1' + b"0" * 10_000 + b"}",
        b"[" * 200_000,
        b"\0",
        b"",
    ],
)
def test_a_body_that_is_no_object_or_says_no_version_gets_the_default(body: bytes) -> None:
    assert asked(request(body=body)) == ("v1", "default", None)


def test_header_parameter_and_key_may_have_other_names() -> None:
    named = Versions([V1, V2], default="v1", latest="v2", header="X-API", query=("v",), body_key="api")
    assert named.resolve(request((b"x-api", b"2"))).source == "header"
    assert named.resolve(request(HEADER, query=b"version=2&v=2")).source == "query"
    assert named.resolve(request(body=b'{"version": 1, "api": 2}')).version is V2


@pytest.mark.parametrize(
    ("known", "default", "latest", "said"),
    [
        ([V1, Version("1")], "v1", "v1", "1 means two versions"),
        ([V1, Version("v3", ("v1.0",))], "v1", "v1", r"1\.0 means two versions"),
        ([Version("latest")], "latest", "latest", "latest means two versions"),
        ([V1, Version("v3", ("Latest",))], "v1", "v1", "latest means two versions"),
        ([Version("unknown")], "unknown", "unknown", "unknown means two versions"),
        ([V1], "v2", "v1", "version v2 is none of v1"),
        ([V1, V2], "v1", "v3", "version v3 is none of v1, v2"),
        ([], "v1", "v1", "version v1 is none of"),
    ],
)
def test_words_that_mean_two_versions_or_none_are_refused(
    known: list[Version], default: str, latest: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Versions(known, default=default, latest=latest)


def test_names_that_differ_by_a_v_before_a_letter_are_two_versions() -> None:
    both = Versions([Version("beta"), Version("vbeta")], default="beta", latest="beta")
    assert [found.name for found in map(both.find, ("beta", "vbeta")) if found] == ["beta", "vbeta"]


@pytest.mark.parametrize("name", ["", "-1", "v1\r\n", "v1\n", "v 1", "v/1", "\u00e9", "v" * 33])
def test_a_name_that_no_event_may_hold_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a version is named"):
        Version(name)


# 2026-03-01T00:00:00Z is 1,772,323,200 s after the epoch, and was a Sunday; 2027-03-01 is a Monday.
GONE = datetime(2026, 3, 1, tzinfo=UTC)
ENDED = datetime(2027, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))  # 2027-02-28T23:30:00Z


def test_deprecation_is_a_date_of_rfc_9745_and_sunset_one_of_rfc_8594_both_utc() -> None:
    fields = Version("v1", deprecated_at=GONE, sunset_at=ENDED, link="https://example.com/v1?a=b#c").fields()
    assert fields == [
        (b"deprecation", b"@1772323200"),
        (b"sunset", b"Sun, 28 Feb 2027 23:30:00 GMT"),
        (b"link", b'<https://example.com/v1?a=b#c>; rel="deprecation"'),
    ]


def test_a_fraction_of_a_second_is_left_out() -> None:
    late = GONE.replace(microsecond=999_999)
    assert Version("v1", deprecated_at=late, sunset_at=late).fields() == [
        (b"deprecation", b"@1772323200"),
        (b"sunset", b"Sun, 01 Mar 2026 00:00:00 GMT"),
    ]


def test_a_version_that_stays_says_nothing_not_even_its_link() -> None:
    assert Version("v2", link="/docs").fields() == []


def test_the_link_of_what_only_ends_has_the_relation_of_rfc_8594() -> None:
    assert Version("v1", sunset_at=ENDED, link="/docs").fields()[1] == (b"link", b'</docs>; rel="sunset"')


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"deprecated_at": datetime(2026, 3, 1)}, "times have a zone"),
        ({"sunset_at": datetime(2026, 3, 1)}, "times have a zone"),
        ({"deprecated_at": ENDED, "sunset_at": GONE}, "no sunset come before the deprecation"),
        ({"link": "/docs\r\nset-cookie: a=b"}, "is no link"),
        ({"link": '/docs>; rel="next'}, "is no link"),
        ({"link": "/d\u00f6cs"}, "is no link"),
        ({"link": ""}, "is no link"),
    ],
)
def test_what_the_fields_cannot_say_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Version("v1", **fields)


def test_a_media_type_made_to_be_slow_to_search_is_searched_in_steps_that_grow_with_its_length() -> None:
    blanks = b" " * 30_000
    for accept in (b";" + blanks, b";version" + blanks, b";version=" + blanks, b'";version="' * 6_000, b"; " * 30_000):
        assert asked(request((b"accept", accept)))[1] == "default"
