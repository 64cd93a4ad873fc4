"""What lies in the topic of a policy beside what should: what differs, and what to write so that nothing does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from quotaloop.sinks.kafka.records import epoch_of

Table = Mapping[tuple[int, bytes], bytes]  # partition and key to value, without what has a tombstone
Record = tuple[int, bytes, bytes | None]  # partition, key, value; None is a tombstone


def differences(wanted: Mapping[bytes, bytes], there: Table, partitions: int) -> Iterator[str]:
    """What of a topic is not as published, a line a record, by key."""
    lying: dict[bytes, list[int]] = {}
    for number, key in sorted(there):
        lying.setdefault(key, []).append(number)
    for key in sorted(wanted.keys() | lying.keys()):
        name, places = _name(key), lying.get(key, [])
        if key not in wanted:
            yield f"{name} lies there, and is not of the policy"
        elif not places:
            yield f"{name} is missing"
        elif places != [partition_of(key, partitions)]:
            yield f"{name} lies in another partition than its own ({', '.join(map(str, places))})"
        elif there[places[0], key] != wanted[key]:
            epoch, of = epoch_of(there[places[0], key]), epoch_of(wanted[key])
            is_changed = epoch in (None, of)
            yield f"{name} is not as published, somebody changed it" if is_changed else f"{name} is of policy {epoch}"


def writes(wanted: Mapping[bytes, bytes], there: Table, partitions: int) -> list[Record]:
    """What to write so that nothing else lies there: tombstones, then all that is wanted, in its order."""
    own = {(partition_of(key, partitions), key): value for key, value in wanted.items()}
    return [(*place, None) for place in sorted(there) if place not in own] + [
        (*place, value) for place, value in own.items()
    ]


def partition_of(key: bytes, partitions: int) -> int:
    """Where clients of Java write a key: murmur2, as librdkafka's ``murmur2_random``.

    >>> partition_of(b"acme", 12)
    0
    """
    mask, factor = 0xFFFFFFFF, 0x5BD1E995
    mixed = 0x9747B28C ^ len(key)
    whole = len(key) // 4 * 4
    for first in range(0, whole, 4):
        word = int.from_bytes(key[first : first + 4], "little") * factor & mask
        mixed = mixed * factor & mask ^ ((word ^ word >> 24) * factor & mask)
    if key[whole:]:
        mixed = (mixed ^ int.from_bytes(key[whole:], "little")) * factor & mask
    mixed = (mixed ^ mixed >> 13) * factor & mask
    return ((mixed ^ mixed >> 15) & 0x7FFFFFFF) % partitions


def _name(key: bytes) -> str:
    text = key.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else ascii(text)
