"""What tools answer as structured content: the types that clients are told."""

from __future__ import annotations

from typing import (
    Any,
    NotRequired,  # before Python 3.12, pydantic reads no other
)

from typing_extensions import TypedDict


class Rows(TypedDict):
    """A table; ``truncated`` where there are more rows than these. Times are RFC 3339, UTC."""

    release: int
    columns: list[str]
    rows: list[list[Any]]
    truncated: bool


class SpanRows(Rows):
    """A table of the hours that begin in ``[since, until)``."""

    since: str | None
    until: str | None


class Why(TypedDict):
    """Limits of a tenant, each with its arithmetic, its changes and what it rests on down to raw offsets."""

    tenant: str
    policy: int
    release: int
    limits: list[dict[str, Any]]
    safe_capacity: dict[str, int]


class Table(TypedDict):
    """A table of a trial."""

    columns: list[str]
    rows: list[list[Any]]


class Trial(TypedDict):
    """A policy on history, a row a tenant for each sink: what it would do, what is in force would, what happened."""

    policy: int
    what_if: list[str]
    in_force: int | None
    release: int
    hours: int
    sinks: dict[str, Table]


class Comparison(TypedDict):
    """What differs between two releases; what is the same is left out.

    ``truncated`` where more tables or tenants differ than are told.
    """

    first: int
    second: int
    checks: list[dict[str, Any]]
    raw: list[dict[str, Any]]
    tables: list[dict[str, Any]]
    truncated: bool
    usage: list[dict[str, Any]] | None
    unread: str | None


class Publication(TypedDict):
    """A policy, and for each sink whether it is in force there, what differs, and what went wrong."""

    policy: int | None
    expires_at: NotRequired[str]
    sinks: list[dict[str, Any]]
