"""The file sink: the policy as one file of the store, replaced in one rename, for limiters that read files."""

from __future__ import annotations

from quotaloop.errors import CheckRefused
from quotaloop.quotas.policy import Policy, check_push, parse, render
from quotaloop.storage.store import Store

TARGET = "published/policy.json"


def publish(store: Store, policy: Policy, *, path: str = TARGET) -> None:
    """Put the policy in place of the one published before, then read it back; publishing it again changes nothing.

    Raises ``CheckRefused``, with the last one still in place, for a policy that is not valid as a whole or not newer.
    """
    published = read_back(store, path=path)
    if published != policy:
        check_push(policy, published)
    if _bytes(store, path) != render(policy):
        store.replace(path, render(policy))
    verify(store, policy, path=path)


def read_back(store: Store, *, path: str = TARGET) -> Policy | None:
    """The published policy, None before the first; raises ``CheckRefused`` if what lies there is not a policy."""
    data = _bytes(store, path)
    if data is None:
        return None
    try:
        return parse(data)
    except CheckRefused as error:
        raise CheckRefused(f"{path} is not a policy; remove it and publish again: {error}") from error


def is_published(store: Store, policy: Policy, *, path: str = TARGET) -> bool:
    """Are the published bytes exactly this policy's?"""
    return _bytes(store, path) == render(policy)


def verify(store: Store, policy: Policy, *, path: str = TARGET) -> None:
    """Raises ``CheckRefused`` unless the published bytes are exactly this policy's."""
    data = _bytes(store, path)
    if data is None:
        raise CheckRefused(f"{path} is missing: publish policy {policy.epoch} again")
    if data != render(policy):
        raise CheckRefused(
            f"{path} is not policy {policy.epoch} as published, somebody changed it: publish a newer one"
        )


def _bytes(store: Store, path: str) -> bytes | None:
    try:
        return store.read(path)
    except FileNotFoundError:
        return None
