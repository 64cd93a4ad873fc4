"""Tools that change live limits; a server has them only if it was started so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field

from quotaloop.cli.mcp import documents
from quotaloop.cli.mcp.desk import Answer, Desk, line
from quotaloop.errors import QuotaloopError
from quotaloop.results import Publication
from quotaloop.terminal import quotas as shown

if TYPE_CHECKING:
    from jobs.work import Work

CHANGES = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True)


@dataclass(frozen=True)
class Publishing:
    """The tools of ``--allow-publish``."""

    desk: Desk

    async def publish_policy(self) -> Annotated[CallToolResult, documents.Publication]:
        """Put the newest policy into every limiter of the settings, and mend what differs there.

        This changes what is let through, at once: a person must have asked for it. `quotaloop quotas publish`.
        """
        return await self.desk.tool(_publish)

    async def roll_back_policy(
        self, epoch: Annotated[int, Field(description="Of the policy whose limits are to hold again.")]
    ) -> Annotated[CallToolResult, documents.Publication]:
        """Publish the limits of an earlier policy under a new epoch; no release moves them until `quotas resume`.

        This changes what is let through, at once: a person must have asked for it. `quotaloop quotas rollback`.
        """
        return await self.desk.tool(lambda work: _roll_back(work, epoch))


def _publish(work: Work) -> Answer:
    from jobs.publication import publish

    return _told(publish(work, mend=True))


def _roll_back(work: Work, epoch: int) -> Answer:
    from jobs.publication import roll_back

    return _told(roll_back(work, epoch))


def _told(publication: Publication | None) -> Answer:
    """What became of it; of a sink where the policy is not in force also the error that ends the command."""
    document = shown.publication(publication)
    for sink in document["sinks"]:
        sink["error"] = line(sink["error"]) if sink["error"] else None
    error: QuotaloopError | None = None
    try:
        if publication is not None:
            publication.check()
    except QuotaloopError as found:
        error = found
    return Answer(document, shown.publication_text(document), error)
