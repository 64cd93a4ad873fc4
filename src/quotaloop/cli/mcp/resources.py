"""What clients may read: the current release, the tables as they are declared, the current policy."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver.exceptions import ResourceNotFoundError

from quotaloop.cli.mcp.desk import Desk
from quotaloop.cli.mcp.opened import release_now
from quotaloop.errors import UsageError
from quotaloop.marts.release import read_days, rfc3339
from quotaloop.marts.rollback import is_pinned
from quotaloop.marts.tables import DAILY, PUBLISHED, Table
from quotaloop.quotas import policy as policies
from quotaloop.terminal.output import verdict

if TYPE_CHECKING:
    from jobs.work import Work

RELEASE, TABLES, TABLE, POLICY = (
    f"quotaloop://{place}" for place in ("release/current", "tables", "tables/{name}", "policy/current")
)


@dataclass(frozen=True)
class Resources:
    """The resources that every server has; all are JSON."""

    desk: Desk

    async def current_release(self) -> str:
        """The release in force: its number and parent, its checks, its raw spans, and the hours in it."""
        return await self.desk.resource(_release)

    async def tables(self) -> str:
        """Every published table: what it holds, and the columns that tell its rows apart (its grain)."""
        return json.dumps({"tables": [_listed(table) for table in PUBLISHED.values()]}, ensure_ascii=False, indent=1)

    async def table(self, name: str) -> str:
        """One table: each column with its type, its unit and meaning, and whether it may be null."""
        if name not in PUBLISHED:
            raise ResourceNotFoundError(f"there is no table of this name; {TABLES} lists them")
        return json.dumps(_described(PUBLISHED[name]), ensure_ascii=False, indent=1)

    async def current_policy(self) -> str:
        """The newest policy, with the evidence of each limit; whether it is in every sink, and pinned by a rollback."""
        return await self.desk.resource(_policy)


def _release(work: Work) -> dict[str, Any]:
    release = release_now(work)
    days = read_days(work.store, release).values()
    counted = {hour: word for day in days for hour, word in day.counted.items()}
    return {
        "number": release.number,
        "parent": release.parent,
        "code": release.code,
        "pinned": is_pinned(work.store, release),
        "content_of": release.rolled_back_to,
        "checks": [verdict(item) for item in release.checks],
        "waivers": release.waivers,
        "raw": [asdict(span) for span in release.raw],
        "hours": {
            "first": rfc3339(min(counted)) if counted else None,
            "last": rfc3339(max(counted)) if counted else None,
            "count": len(counted),
            "counted": dict(sorted(Counter(counted.values()).items())),
            "open": [rfc3339(hour) for hour in release.open_hours],
        },
    }


def _listed(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "holds": table.doc,
        "grain": list(table.grain),
        "uri": TABLE.replace("{name}", table.name),
    }


def _described(table: Table) -> dict[str, Any]:
    source = DAILY.get(table)
    columns = [
        {
            "name": column.name,
            "type": str(column.type),
            "means": column.doc,
            "grain": column.name in table.grain,
            "nullable": column.nullable,
            **({"of_the_hours": column.merge} if source and column.name not in table.grain else {}),
        }
        for column in table.columns
    ]
    return {**_listed(table), "made_of": source.name if source else None, "columns": columns}


def _policy(work: Work) -> dict[str, Any]:
    from jobs.publication import is_published

    policy = policies.newest(work.store)
    if policy is None:
        raise UsageError("there is no policy yet; run `quotaloop run`")
    return {
        "published": is_published(work, policy),
        "pinned": policies.is_pinned(work.store, policy),
        "policy": json.loads(policies.render(policy)),
    }
