r"""One line of a raw file: ``offset TAB kafka_time_ms TAB flag TAB payload``.

The flag says how the payload is written: ``.`` the bytes as they came, ``b`` base64 (they held a line end or were not
UTF-8), ``n`` null, ``x`` erased.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
    flag, payload = b"n", b""
    if record.erased:
        flag, payload = b"x", record.value or b""
    elif record.value is not None:
        plain = _is_plain(record.value)
        flag, payload = (b".", record.value) if plain else (b"b", base64.b64encode(record.value))
    return b"%d\t%d\t%s\t%s\n" % (record.offset, record.kafka_time_ms, flag, payload)


def encode_all(values: Iterable[bytes], *, first_offset: int, kafka_time_ms: int) -> bytes:
    """Lines of values that follow one another, quickly."""
    chunk = list(values)
    if not _is_plain(b" ".join(chunk)):  # apart, or two halves of a character would pass as one
        return b"".join(
            encode(Record(offset, kafka_time_ms, value)) for offset, value in enumerate(chunk, start=first_offset)
        )
    middle = b"\t%d\t.\t" % kafka_time_ms
    return b"".join(b"%d%s%s\n" % (offset, middle, value) for offset, value in enumerate(chunk, start=first_offset))


def encode_batch(offsets: Sequence[int], times: Sequence[int], values: Sequence[bytes | None]) -> bytes:
    """Lines of records as they came from a broker, quickly; the three have the same length."""
    present = [value for value in values if value is not None]
    if len(present) == len(values) and _is_plain(b" ".join(present)):
        return b"".join([b"%d\t%d\t.\t%s\n" % record for record in zip(offsets, times, present, strict=True)])
    return b"".join(encode(Record(*record)) for record in zip(offsets, times, values, strict=True))


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


def _is_plain(value: bytes) -> bool:
    if b"\n" in value or b"\r" in value:
        return False
    if value.isascii():
        return True
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
