"""Commands that bring request logs into the raw zone."""

from __future__ import annotations

import time
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
    from quotaloop.storage.address import open_store
    from quotaloop.terminal.bars import Bars

    call = call_of(context)
    store = open_store(call.settings.store)
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


def _time_ms(text: str | None) -> int:
    from quotaloop.events.fields import time_ms
    from quotaloop.raw.record import NO_TIME

    if text is None:
        return NO_TIME
    try:
        return time_ms(int(text) if text.isdigit() else text)
    except ValueError as error:
        raise UsageError(f"--landed-at {text!r}: write RFC 3339 with a zone, or epoch milliseconds") from error
