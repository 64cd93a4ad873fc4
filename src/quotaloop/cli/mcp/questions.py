"""Tools that only look: each is a call of the command line, or a sum over the current release."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field
from rich.console import Group

from quotaloop.cli.mcp import comparing, documents
from quotaloop.cli.mcp import latency as speed
from quotaloop.cli.mcp import usage as used
from quotaloop.cli.mcp.children import Children, Statement
from quotaloop.cli.mcp.desk import Answer, Desk
from quotaloop.terminal import quotas as shown
from quotaloop.terminal.output import grid

if TYPE_CHECKING:
    import pyarrow as pa

    from jobs.work import Work

LOOKS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

_Since = Annotated[str | None, Field(description="The first hour: RFC 3339, or a date. By default the oldest.")]
_Until = Annotated[str | None, Field(description="Before this hour: RFC 3339, or a date. By default to the end.")]
_Tenant = Annotated[str, Field(description="Whose limits.")]


@dataclass(frozen=True)
class Questions:
    """The tools that every server has."""

    desk: Desk
    _children: Children = field(default_factory=Children)

    async def usage(
        self,
        tenant: Annotated[str | None, Field(description="Of one tenant; by default of all.")] = None,
        since: _Since = None,
        until: _Until = None,
        by: Annotated[list[used.By] | None, Field(description="What rows are of; by default tenant.")] = None,
    ) -> Annotated[CallToolResult, documents.SpanRows]:
        """Requests, outcomes, tokens, compute and bytes from the current release, summed by tenant or what is named."""
        keys: list[used.By] = ["tenant"] if by is None else by
        return await self.desk.tool(lambda work: used.usage(work, tenant=tenant, since=since, until=until, by=keys))

    async def latency(
        self,
        api_version: Annotated[str | None, Field(description="Of one version; by default each.")] = None,
        model: Annotated[str | None, Field(description="Of one model; by default all together.")] = None,
        since: _Since = None,
        until: _Until = None,
    ) -> Annotated[CallToolResult, documents.SpanRows]:
        """Quantiles in ms of duration, ttft and itl (inter-token latency) of attempts with outcome ok, by version.

        They are of histograms merged over all the hours, and lie within 1 % of exact ones.
        """
        named = {"api_version": api_version, "model": model}
        return await self.desk.tool(lambda work: speed.latency(work, **named, since=since, until=until))

    async def why_limit(self, tenant: _Tenant) -> Annotated[CallToolResult, documents.Why]:
        """Why a tenant is limited as it is in the newest policy, down to the raw offsets; `quotaloop quotas why`."""
        return await self.desk.tool(lambda work: _why(work, tenant))

    async def what_if(
        self,
        changes: Annotated[
            list[str],
            Field(description="Such as tenant=acme,limit=150000; kind is tokens unless given. None: the next policy."),
        ],
        sink: Annotated[str | None, Field(description="Of one sink; by default all.")] = None,
        since: Annotated[str | None, Field(description="The first hour, RFC 3339.")] = None,
        until: Annotated[str | None, Field(description="Before this hour, RFC 3339.")] = None,
    ) -> Annotated[CallToolResult, documents.Trial]:
        """Replay history under other limits, beside those in force and what happened, a row a tenant; nothing changes.

        This is `quotaloop quotas backtest --what-if`, by default over the last weeks. It reads every event of its
        hours, which takes seconds for a million of them: name a span where a day or two will do.
        """
        return await self.desk.tool(lambda work: _trial(work, changes, sink, since, until))

    async def compare_releases(
        self,
        first: Annotated[int, Field(description="Number of a release.")],
        second: Annotated[int, Field(description="Number of another one.")],
    ) -> Annotated[CallToolResult, documents.Comparison]:
        """What differs between two releases: files and rows by date and table, checks, raw spans, usage by tenant."""
        return await self.desk.tool(lambda work: comparing.compare_releases(work, first, second))

    async def sql(
        self,
        query: Annotated[str, Field(description="One SELECT.")],
        max_rows: Annotated[
            int, Field(ge=1, le=1000, description="Rows that are sent; `truncated`: there are more.")
        ] = 200,
        timeout_s: Annotated[float, Field(gt=0, le=30, description="Seconds after which it is stopped.")] = 10,
    ) -> Annotated[CallToolResult, documents.Rows]:
        """Ask the current release in DuckDB's SQL, one view a table, read-only, as `quotaloop sql` does.

        `quotaloop://tables` lists the tables. There are also `events`, `quota_decisions` and
        `rate_limit_against_policy`; `DESCRIBE events` gives columns. Times are UTC.
        """
        asked = Statement(self._children, self.desk.settings, query, max_rows, timeout_s)
        return await self.desk.tool(lambda _: _selected(asked), stop=asked.stop)


def _selected(asked: Statement) -> Answer:
    document = asked.answer()
    return Answer(document, grid(document))


def _why(work: Work, tenant: str) -> Answer:
    from jobs.why import why

    document = why(work, tenant)
    return Answer(document, shown.why(document))


def _trial(work: Work, changes: list[str], sink: str | None, since: str | None, until: str | None) -> Answer:
    from jobs.trying import trial

    found = trial(work, changes=changes, sink=sink, since=since, until=until)
    document = {
        "policy": found.policy.epoch,
        "what_if": changes,
        "in_force": found.in_force.epoch if found.in_force else None,
        "release": found.release.number,
        "hours": found.hours,
        "sinks": {name: _by_tenant(rows) for name, rows in found.rows.items()},
    }
    texts = (shown.tried_text(f"{name}: {found.told}", rows) for name, rows in found.rows.items())
    return Answer(document, Group(*texts))


def _by_tenant(rows: pa.Table) -> dict[str, object]:
    """A row a tenant, over all hours and models, of which there may be very many."""
    amounts = [name for name in rows.column_names if name not in ("hour_ms", "tenant", "model")]
    sums = rows.group_by("tenant").aggregate([(name, "sum") for name in amounts]).sort_by("tenant")
    columns = (sums[name].to_pylist() for name in ("tenant", *(f"{name}_sum" for name in amounts)))
    return {"columns": ["tenant", *amounts], "rows": [list(row) for row in zip(*columns, strict=True)]}
