"""The story of a tenant's limits, out of the policies and the release that they were derived from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import duckdb

from jobs.work import Work
from quotaloop.errors import InputUnreadable, UsageError
from quotaloop.marts.release import read_release
from quotaloop.marts.views import open_views
from quotaloop.quotas.policy import Limit, policies
from quotaloop.quotas.story import changes_of, moment_of, told

_TABLES = ("demand_minutely", "rate_limit_usage", "events")


def why(work: Work, tenant: str) -> dict[str, Any]:
    """All limits of a tenant in the newest policy, each with its arithmetic, its changes and what it rests on.

    Raises ``UsageError`` where there is no policy. A tenant without a limit of its own has the safe capacity.
    """
    known = policies(work.store)
    if not known:
        raise UsageError("there is no policy yet; run `quotaloop run`")
    newest = known[-1]
    limits = [limit for limit in newest.limits if limit.tenant == tenant]
    free = {limit.kind for limit in limits}
    safe = {kind: rate.limit for kind, rate in newest.safe_capacity.items() if kind not in free}
    with ExitStack() as stack:
        opened: dict[int, duckdb.DuckDBPyConnection | None] = {}
        story = []
        for limit in limits:
            number = _release_of(limit)
            if number is not None and number not in opened:
                opened[number] = _opened(work, number, stack)
            connection = opened.get(number) if number is not None else None
            document = told(newest, limit, changes_of(known, limit))
            document["moment"] = moment_of(connection, limit) if connection is not None else None
            document["raw"] = list(_raw(work, number)) if number is not None else []
            story.append(document)
    return {"tenant": tenant, "policy": newest.epoch, "release": newest.release, "limits": story, "safe_capacity": safe}


def _release_of(limit: Limit) -> int | None:
    releases = limit.evidence.get("releases")
    return releases[-1] if isinstance(releases, list) and releases and isinstance(releases[-1], int) else None


def _opened(work: Work, number: int, stack: ExitStack) -> duckdb.DuckDBPyConnection | None:
    """Views over a release; None where its files are gone, as those of old releases may be."""
    try:
        return stack.enter_context(open_views(work.store, read_release(work.store, number), tables=_TABLES))
    except (InputUnreadable, UsageError):
        return None


def _raw(work: Work, number: int) -> Iterator[dict[str, Any]]:
    """The raw spans of a release: half-open, with the SHA-256 of their listing."""
    try:
        release = read_release(work.store, number)
    except UsageError:
        return
    for span in release.raw:
        yield {
            "topic": span.topic,
            "partition": span.partition,
            "start": span.start,
            "end": span.end,
            "listing_sha256": span.sha256,
        }
