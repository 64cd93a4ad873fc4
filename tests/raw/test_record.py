"""Raw lines: every value comes back as it went in, and each line says how it is written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotaloop.raw.record import NO_TIME, Record, decode, encode, encode_all, encode_batch

VALUES = st.binary(max_size=40) | st.text(max_size=20).map(str.encode) | st.sampled_from([b"\xc3", b"\xa9", b"\n", b""])


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (Record(7, 1_772_359_200_000, b'{"a":1}'), b'7\t1772359200000\t.\t{"a":1}\n'),
        (Record(0, NO_TIME, b""), b"0\t-1\t.\t\n"),
        (Record(0, NO_TIME, b"a\tb\0\x0b"), b"0\t-1\t.\ta\tb\0\x0b\n"),
        (Record(0, NO_TIME, "\u00e9\u2028".encode()), b"0\t-1\t.\t\xc3\xa9\xe2\x80\xa8\n"),
        (Record(1, 5, b"a\nb"), b"1\t5\tb\tYQpi\n"),
        (Record(1, 5, b"a\r"), b"1\t5\tb\tYQ0=\n"),
        (Record(1, 5, b"\xff"), b"1\t5\tb\t/w==\n"),
        (Record(2, 5, None), b"2\t5\tn\t\n"),
        (Record(3, 5, b'{"host":"h","boot":"b","seq":1}', erased=True), b'3\t5\tx\t{"host":"h","boot":"b","seq":1}\n'),
        (Record(3, 5, b"", erased=True), b"3\t5\tx\t\n"),
    ],
)
def test_a_record_is_one_line_and_the_line_the_record(record: Record, line: bytes) -> None:
    assert encode(record) == line
    assert decode(line) == decode(line[:-1]) == record


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(VALUES, max_size=12), st.integers(0, 2**62), st.sampled_from([NO_TIME, 0, 1_772_359_200_000]))
def test_many_values_are_written_as_each_would_be_alone(values: list[bytes], first: int, time: int) -> None:
    together = encode_all(values, first_offset=first, kafka_time_ms=time)
    records = [Record(first + number, time, value) for number, value in enumerate(values)]
    assert together == b"".join(encode(record) for record in records)
    assert [decode(line) for line in together.split(b"\n")[:-1]] == records


def test_two_halves_of_a_character_in_two_lines_are_two_lines_that_are_not_utf_8() -> None:
    lines = encode_all([b"a\xc3", b"\xa9b"], first_offset=0, kafka_time_ms=NO_TIME).split(b"\n")[:-1]
    assert [line.split(b"\t")[2] for line in lines] == [b"b", b"b"]
    assert [decode(line).value for line in lines] == [b"a\xc3", b"\xa9b"]


@pytest.mark.parametrize("line", [b"", b"1\t2\t.", b"1\t2\tq\tx", b"x\t2\t.\ty", b"1\t2\tb\t*"])
def test_what_is_no_raw_line_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(line)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(-1, 2**42), VALUES | st.none()), max_size=12))
def test_records_of_a_broker_are_written_as_each_would_be_alone(rows: list[tuple[int, int, bytes | None]]) -> None:
    offsets, times, values = ([row[place] for row in rows] for place in range(3))
    together = encode_batch(offsets, times, values)  # type: ignore[arg-type]
    assert together == b"".join(encode(Record(*row)) for row in rows)
