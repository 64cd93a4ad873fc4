"""The policy that lies in Redis, as limiters read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from quotaloop.errors import CheckRefused, ServiceUnreachable
from quotaloop.quotas.policy import Policy, parse

PREFIX = "quotaloop"


class Lying(NamedTuple):
    """The two fields of the hash, as they lie there; None for one that is missing."""

    epoch: bytes | None
    policy: bytes | None


def key_of(prefix: str = PREFIX) -> str:
    """The hash that holds the policy, and the channel that says its epoch when it has changed."""
    return f"{prefix}:policy"


def read(client: Redis, prefix: str = PREFIX) -> Policy | None:
    """The published policy, for a limiter to load; None where nothing was published.

    Raises ``CheckRefused`` for what is not a policy as published, and ``ServiceUnreachable`` where Redis does not
    answer: a limiter keeps what it has.
    """
    key = key_of(prefix)
    there = lying(client, key)
    if there == (None, None):
        return None
    policy = parse(there.policy or b"")
    if there.epoch != str(policy.epoch).encode():
        raise CheckRefused(f"{key} holds policy {policy.epoch} under another epoch, somebody changed it")
    return policy


def lying(client: Redis, key: str) -> Lying:
    """What lies under the key; raises as ``read``."""
    with translated(client, key):
        fields = client.hmget(key, "epoch", "policy")
    return Lying(*(field.encode() if isinstance(field, str) else field for field in fields))


def address_of(client: Redis) -> str:
    """Host and port, or the path of a socket: what may be said of a url that holds a password."""
    chosen = client.connection_pool.connection_kwargs
    return str(chosen.get("path") or f"{chosen.get('host', 'localhost')}:{chosen.get('port', 6379)}")


@contextmanager
def translated(client: Redis, key: str) -> Iterator[None]:
    """What Redis and its client raise within, in one line each."""
    address = address_of(client)
    try:
        yield
    except ResponseError as error:
        said = " ".join(str(error).split())
        if said.startswith(("WRONGTYPE", "DAMAGED")):
            raise damaged(client, key, said.partition(" ")[2]) from error
        raise ServiceUnreachable(f"Redis at {address} does not do it: {said}") from error
    except (RedisError, OSError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ServiceUnreachable(f"Redis at {address} does not answer: {said}") from error


def damaged(client: Redis, key: str, what: str) -> CheckRefused:
    """The error for a key that cannot be compared with."""
    return CheckRefused(f"{key} at {address_of(client)} is not as published ({what}): remove it and publish again")
