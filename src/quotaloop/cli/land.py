"""Commands that bring request logs into the raw zone."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from quotaloop.cli.call import call_of
from quotaloop.errors import InputUnreadable, UsageError
from quotaloop.terminal import output

app = typer.Typer(help="Copy request logs into the raw zone, byte for byte.")


@app.command("files")
def land_files(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Files: plain, .gz or .zst.")],
    topic: Annotated[str | None, typer.Option(help="The topic to land in; by default the format's name.")] = None,
    file_format: Annotated[str, typer.Option("--format", help="native, azure-llm or llmperf.")] = "native",
    partition: Annotated[int, typer.Option(min=0, max=99_999, help="The partition to land in.")] = 0,
    landed_at: Annotated[
        str | None, typer.Option(help="Kafka time of the lines: RFC 3339 or epoch ms; none unless given.")
    ] = None,
) -> None:
    """Land files; bytes that were landed into the topic before are skipped."""
    from quotaloop.raw.formats import FORMATS
    from quotaloop.raw.landing import land_file
    from quotaloop.storage.address import store_of
    from quotaloop.terminal.bars import Bars

    call = call_of(context)
    store = store_of(call.settings)
    done = []
    with Bars() as progress:
        for path in paths:
            if not path.is_file():
                raise InputUnreadable(f"{path} is not a file")
            progress.begin(f"land {path.name}", path.stat().st_size, "bytes")
            done.append(
                land_file(
                    store,
                    path,
                    topic=topic or file_format,
                    file_format=file_format,
                    settings=call.settings,
                    partition=partition,
                    landed_at_ms=_time_ms(landed_at),
                    now_ms=int(time.time() * 1000),
                    progress=progress.advance,
                )
            )
            progress.end()
    derived = list(FORMATS[file_format].DERIVED)
    rows = [
        {
            "file": str(item.path),
            "lines": item.lines,
            "ranges": [str(part) for part in item.ranges],
            "skipped": item.skipped,
            "sha256": item.sha256,
        }
        for item in done
    ]
    call.print({"topic": topic or file_format, "derived": derived, "files": rows}, output.landed(rows, derived))


@app.command("kafka")
def land_kafka(
    context: typer.Context,
    topic: Annotated[str, typer.Option(help="The topic to land, under its own name.")],
    on: Annotated[str | None, typer.Option(help="process or spark: where ranges are copied.")] = None,
    accept_lost: Annotated[
        bool, typer.Option("--accept-lost", help="Go on without offsets that were deleted before they were landed.")
    ] = False,
    recreated: Annotated[bool, typer.Option("--recreated", help="The topic was made again: go on as TOPIC@2.")] = False,
    ended: Annotated[
        bool, typer.Option("--ended", help="Nothing more comes: it holds no hour open. Kafka may be gone by then.")
    ] = False,
) -> None:
    """Land all that a topic has and that has not landed; the brokers are those of the settings."""
    from jobs.ingest.land import end_kafka
    from jobs.ingest.land import land_kafka as land
    from quotaloop.settings import with_changes

    call = call_of(context)
    if on is not None:
        call = replace(call, settings=with_changes(call.settings, {"land_on": on}))
    with call.working() as work:
        landed = (end_kafka if ended else land)(work, topic, accept_lost=accept_lost, recreated=recreated)
    document = output.landed_topic(landed)
    call.print(document, output.landed_topic_text(document))


def _time_ms(text: str | None) -> int:
    from quotaloop.events.fields import time_ms
    from quotaloop.raw.record import NO_TIME

    if text is None:
        return NO_TIME
    try:
        return time_ms(int(text) if text.isdigit() else text)
    except ValueError as error:
        raise UsageError(f"--landed-at {text!r}: write RFC 3339 with a zone, or epoch milliseconds") from error
