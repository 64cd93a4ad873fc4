"""What is landed, pending, released and in force."""

from __future__ import annotations

from typing import Any

from jobs.feedback import is_pending
from jobs.publication import is_published
from jobs.work import Work
from quotaloop.quotas.policy import epoch_ms, newest, rfc3339


def status(work: Work) -> dict[str, Any]:
    """One document about the store."""
    topics: dict[str, dict[str, Any]] = {}
    for item in work.ranges:
        row = topics.setdefault(item.topic, {"topic": item.topic, "ranges": 0, "lines": 0, "pending": 0})
        row["ranges"] += 1
        row["lines"] += item.end - item.start
    for item in work.new_ranges:
        topics[item.topic]["pending"] += 1
    policy = newest(work.store)
    return {
        "store": work.store.url,
        "landed": {"ranges": len(work.ranges), "lines": sum(row["lines"] for row in topics.values())},
        "pending": {
            "ranges": len(work.new_ranges),
            "hours": len(work.closing),
            "unparsed": len(work.unparsed),
            "derivation": is_pending(work),
            "publication": bool(policy and not is_published(work, policy)),
        },
        "release": work.latest.number if work.latest else None,
        "pinned": work.pinned,
        "policy": {
            "epoch": policy.epoch,
            "release": policy.release,
            "valid_from": rfc3339(epoch_ms(policy.valid_from)),
            "expires_at": rfc3339(epoch_ms(policy.expires_at)),
        }
        if policy
        else None,
        "closed_before": rfc3339(work.closed_before) if work.closed_before is not None else None,
        "unfinished": sorted(work.unfinished),
        "topics": list(topics.values()),
    }
