"""Native files: lines as they are, whatever the chunks."""

from __future__ import annotations

import io

import pytest

from quotaloop.errors import InputUnreadable
from quotaloop.raw.formats import FORMATS, native


def split(content: bytes) -> list[bytes]:
    return list(native.lines(io.BytesIO(content), "events.jsonl"))


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 1 << 20])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"\r\n", [b""]),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\n\n\nb\n", [b"a", b"", b"", b"b"]),
        (b"a\r\nb\r\r\n", [b"a", b"b\r"]),
        (b"a\rb\nc\r", [b"a\rb", b"c\r"]),
        (b"\xff\x00\x0b\x0c\xe2\x80\xa8\nb", [b"\xff\x00\x0b\x0c\xe2\x80\xa8", b"b"]),
    ],
)
def test_a_file_is_split_at_newlines_alone_however_it_is_read(
    content: bytes, expected: list[bytes], chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "CHUNK_BYTES", chunk_bytes)
    assert split(content) == expected


def test_a_line_longer_than_many_chunks_stays_one_line() -> None:
    long = b"x" * (5 * native.CHUNK_BYTES + 7)
    assert split(b"a\n" + long + b"\r\nb") == [b"a", long, b"b"]


def test_nothing_is_read_beyond_the_chunk_that_holds_the_first_line() -> None:
    stream = io.BytesIO(b"line\n" * native.CHUNK_BYTES)
    assert next(native.lines(stream, "events.jsonl")) == b"line"
    assert stream.tell() == native.CHUNK_BYTES


def test_every_format_of_the_contract_is_registered_and_native_derives_nothing() -> None:
    assert sorted(FORMATS) == ["azure-llm", "llmperf", "native"]
    assert FORMATS["native"].DERIVED == ()


def test_a_line_without_end_is_no_request_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "MAX_LINE_BYTES", 3 * native.CHUNK_BYTES)
    just = b"x" * (3 * native.CHUNK_BYTES)
    assert list(native.lines(io.BytesIO(just + b"\n" + just), "a.log")) == [just, just]
    with pytest.raises(InputUnreadable, match=r"a\.log has a line of more than"):
        list(native.lines(io.BytesIO(b"a\n" + just + b"y"), "a.log"))
