"""Answers of the edge itself: what a client is told when its request does not reach the handler (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from quotaloop.edge.ratelimit_fields import ratelimit_fields, seconds
from quotaloop.edge.versions import Asked, Versions
from quotaloop.limiter.answer import Answer

_TYPES = "https://iana.org/assignments/http-problem-types#"


class Refused(Exception):
    """A request that the edge answers itself: the ``problem`` as a JSON object, its ``status`` and header fields.

    ``denied_by`` is the kind of the limit that said no, None where none did.
    """

    def __init__(
        self,
        problem: dict[str, Any],
        *,
        fields: list[tuple[bytes, bytes]] | None = None,
        retry_after_ms: int = 0,
        denied_by: str | None = None,
    ) -> None:
        super().__init__(problem["title"])
        self.problem, self.status = problem, int(problem["status"])
        self.fields, self.retry_after_ms, self.denied_by = fields or [], retry_after_ms, denied_by

    @property
    def outcome(self) -> str:
        """That of the event."""
        return "denied" if self.denied_by else "error"

    def body(self) -> bytes:
        """The problem as JSON."""
        return json.dumps(self.problem).encode()


def over_limit(answer: Answer, costs: Mapping[Any, int]) -> Refused:
    """A limit said no, or, without one that did, the store of counts is away and nothing passes meanwhile."""
    wait_s = seconds(answer.retry_after_ms)
    fields = [*ratelimit_fields(answer), (b"retry-after", str(wait_s).encode())]
    if answer.denied_by is None:
        problem = {
            "type": f"{_TYPES}temporary-reduced-capacity",
            "title": "Limits cannot be checked at the moment",
            "status": 503,
            "detail": f"come back in {wait_s} s",
        }
        return Refused(problem, fields=fields, retry_after_ms=answer.retry_after_ms)
    violated = [
        {
            "name": bound.name,
            "kind": bound.kind,
            "limit": bound.rule.limit if bound.rule is not None else 0,
            "per_seconds": getattr(bound.rule, "period_ms", 0) // 1_000 or None,
            "wanted": costs.get(bound.kind, 0),
            "remaining": found.remaining,
            "retry_after_s": seconds(found.retry_after_ms),
        }
        for bound, (_, found) in zip(answer.bounds, answer.decisions, strict=True)
        if not found.allowed
    ]
    problem = {
        "type": f"{_TYPES}quota-exceeded",
        "title": "A limit is reached",
        "status": 429,
        "detail": "; ".join(map(_said, violated)) + f"; come back in {wait_s} s",
        "violated-policies": [one["name"] for one in violated],
        "limits": violated,
        "policy_epoch": answer.policy_epoch,
        "source": answer.source,
    }
    return Refused(problem, fields=fields, retry_after_ms=answer.retry_after_ms, denied_by=answer.denied_by)


def unknown_version(asked: Asked, versions: Versions) -> Refused:
    """There is no such version: 404 where the path says it, else 400."""
    known = [version.name for version in versions.known]
    problem = {
        "type": "about:blank",
        "title": "There is no such version",
        "status": 404 if asked.source == "path" else 400,
        "detail": f"the {asked.source} asks for version {(asked.word or '')[:64]!r}; there are {', '.join(known)}",
        "versions": known,
        "latest": versions.latest.name,
    }
    return Refused(problem)


def unauthenticated(challenge: str) -> Refused:
    """Nobody knows whose request it is."""
    problem = {
        "type": "about:blank",
        "title": "The key is missing or not known",
        "status": 401,
        "detail": f"send it as Authorization: {challenge} KEY",
    }
    return Refused(problem, fields=[(b"www-authenticate", challenge.encode())])


def _said(one: Mapping[str, Any]) -> str:
    period = f" in {one['per_seconds']} s" if one["per_seconds"] else " at once"
    return f"{one['name']}: {one['wanted']:,} wanted, {one['remaining']:,} left of {one['limit']:,}{period}"
