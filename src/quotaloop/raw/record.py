r"""One line of a raw file: ``offset TAB kafka_time_ms TAB flag TAB payload``.

The flag says how the payload is written: ``.`` the bytes as they came, ``b`` base64 (they held a line end or were not
UTF-8), ``n`` null, ``x`` erased.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

NO_TIME = -1


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it came: ``value`` is None for null; ``erased`` has lost its value to ``forget``."""

    offset: int
    kafka_time_ms: int
    value: bytes | None
    erased: bool = False


def encode(record: Record) -> bytes:
    """The line with its line end."""
    flag, payload = (b"x", record.value or b"") if record.erased else _written(record.value)
    return b"%d\t%d\t%s\t%s\n" % (record.offset, record.kafka_time_ms, flag, payload)


def encode_all(values: Iterable[bytes], *, first_offset: int, kafka_time_ms: int) -> bytes:
    """Lines of values that follow one another, quickly."""
    chunk = list(values)
    return encode_batch(range(first_offset, first_offset + len(chunk)), [kafka_time_ms] * len(chunk), chunk)


def encode_batch(offsets: Sequence[int], times: Sequence[int], values: Sequence[bytes | None]) -> bytes:
    """Lines of records as they came from a broker, quickly; the three have the same length."""
    if _all_plain(values):
        return _lines(b"%d\t%d\t.\t%s\n", offsets, times, values)
    return _lines(b"%d\t%d\t%s\t%s\n", offsets, times, *zip(*map(_written, values), strict=True))


def decode(line: bytes) -> Record:
    """The record of a line, with or without its line end; raises ``ValueError`` for anything else."""
    offset, kafka_time, flag, payload = line.rstrip(b"\n").split(b"\t", 3)
    value: bytes | None = payload
    if flag == b"b":
        value = base64.b64decode(payload, validate=True)
    elif flag == b"n":
        value = None
    elif flag not in (b".", b"x"):
        raise ValueError(f"flag {flag!r} is none of . b n x")
    return Record(int(offset), int(kafka_time), value, erased=flag == b"x")


def _written(value: bytes | None) -> tuple[bytes, bytes]:
    """The flag and the payload of a value."""
    if value is None:
        return b"n", b""
    return (b".", value) if _is_plain(value) else (b"b", base64.b64encode(value))


def _lines(form: bytes, *columns: Sequence[object]) -> bytes:
    return (form * len(columns[0])) % tuple(chain.from_iterable(zip(*columns, strict=True)))


def _all_plain(values: Sequence[bytes | None]) -> bool:
    try:
        together = b" ".join(values)  # type: ignore[arg-type]
    except TypeError:  # null is among them
        return False
    if b"\n" in together or b"\r" in together:
        return False
    return together.isascii() or all(_is_plain(value) for value in values if value and not value.isascii())


def _is_plain(value: bytes) -> bool:
    if b"\n" in value or b"\r" in value:
        return False
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
