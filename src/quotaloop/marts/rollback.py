"""Going back to the content of an earlier release, which pins it, and going on."""

from __future__ import annotations

from quotaloop.errors import QuotaloopError
from quotaloop.marts.release import Release, newest, numbers, publish, read_release
from quotaloop.storage.store import Store


def is_pinned(store: Store, release: Release | None) -> bool:
    """Was the newest release rolled back to, and not resumed since?"""
    return release is not None and release.pinned and not store.exists(_resume_path(release.number))


def roll_back(store: Store, number: int) -> Release:
    """Append a pinned release with the content of release ``number``; raises ``UsageError`` if there is none."""
    target = read_release(store, number)
    for _ in range(8):
        latest = newest(store)
        assert latest is not None
        target.number, target.parent = latest.number + 1, latest.number
        target.pinned, target.rolled_back_to = True, number
        if publish(store, target):
            return target
    raise QuotaloopError("other runs took eight release numbers in a row; try again")


def taken_back(store: Store, number: int) -> int | None:
    """To which earlier release's content a later rollback went back from release ``number``; None if none did."""
    for later in numbers(store):
        if later > number:
            gone_to = read_release(store, later).rolled_back_to
            if gone_to is not None and gone_to < number:
                return gone_to
    return None


def resume(store: Store) -> int | None:
    """End the pin of the newest release; its number, or None if it is not pinned."""
    latest = newest(store)
    if latest is None or not is_pinned(store, latest):
        return None
    store.write_if_absent(_resume_path(latest.number), b"{}\n")
    return latest.number


def _resume_path(number: int) -> str:
    return f"releases/resumed/{number:010d}.json"
