"""The reader of JSON without recursion: it agrees with other readers where they are right, and sees what they hide."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotaloop.events.syntax import NESTED, SyntaxFault, read
from tests.events.bad_lines import event

_HALF_A_PAIR = re.compile(r"\\ud[89a-f]")

SCALARS = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


def reason(text: str) -> str:
    with pytest.raises(SyntaxFault) as fault:
        read(text)
    return fault.value.reason


def shallow(value: Any) -> Any:
    return NESTED if isinstance(value, dict | list) else value


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in strings(item)]


def depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max((depth(item) for item in (value.values() if isinstance(value, dict) else value)), default=0)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.dictionaries(st.text(), VALUES, max_size=6), st.booleans(), st.sampled_from([None, 2]))
def test_what_json_writes_is_read_back(fields: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    document = read(json.dumps(fields, ensure_ascii=ascii_only, indent=indent))
    assert document.fields == {name: shallow(value) for name, value in fields.items()}
    assert document.strings == strings(fields)
    assert document.depth == depth(fields)
    assert not document.duplicate_key


def test_every_proper_beginning_of_an_object_is_truncated() -> None:
    whole = event("a", note='q"\\\u00e9\n', list=[True, False, None, -1.5e-7, {"a": {}}], zero=0).decode()
    whole = whole.replace("\u00e9", "\\u00e9")
    assert {reason(whole[:length]) for length in range(1, len(whole))} == {"truncated"}
    assert not read(whole).duplicate_key


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet='{}[]",:\\ue019.-+tfn \x00\r', max_size=12))
def test_it_takes_just_what_the_standard_library_takes(text: str) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        reason(text)
    elif _HALF_A_PAIR.search(repr(value)):
        assert reason(text) == "encoding"
    else:
        document = read(text)
        assert document.fields == {name: shallow(item) for name, item in value.items()} or document.duplicate_key


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":1}', '{"a":1,"\\u0061":2}', '{"x":{"a":1,"a":1}}', '{"x":[{"y":[{"a":{},"a":[]}]}]}']
)
def test_a_key_that_stands_twice_in_one_object_is_seen_at_every_level(text: str) -> None:
    assert read(text).duplicate_key


def test_the_same_key_in_two_objects_is_no_duplicate() -> None:
    assert not read('{"a":{"a":1},"b":[{"a":1},{"a":2}]}').duplicate_key


def test_a_hundred_thousand_levels_are_read_without_recursion() -> None:
    assert read('{"a":' + "[" * 100_000 + "]" * 100_000 + "}").depth == 100_001


def test_many_keys_take_linear_time() -> None:
    assert len(read("{" + ",".join(f'"k{n}":{n}' for n in range(50_000)) + "}").fields) == 50_000


@pytest.mark.parametrize("text", ['{"a":1,}', "{,}", '{"a" 1}', "{1:1}", '{"a":[1,]}', '{"a":[,1]}', '{"a":1]', "{]"])
def test_commas_and_brackets_out_of_place_are_bad_syntax(text: str) -> None:
    assert reason(text) == "syntax"


@pytest.mark.parametrize("text", [r'{"a":"\x"}', r'{"a":"\u12g4"}', r'{"a":"\U0041"}', r'{"a":"\'"}'])
def test_escapes_that_json_does_not_have_are_bad_syntax(text: str) -> None:
    assert reason(text) == "syntax"


@pytest.mark.parametrize("depth", [63, 64, 65, 1_000, 20_000])
def test_brackets_in_a_row_are_counted_one_by_one(depth: int) -> None:
    text = '{"a":' + "[" * depth + '1,{"b":[[]]}' + "]" * depth + ',"c":[[],[[2]]],"d":3}'
    document = read(text)
    assert (document.depth, document.fields["d"]) == (depth + 4, 3)
    for wrong in (text.replace("]]]", "]]", 1), text.replace(',"c"', '],"c"')):
        with pytest.raises(SyntaxFault):
            read(wrong)
