"""The truth as a page to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_INTRODUCTION = """\
# Sample traffic

`requests.jsonl.gz`: made-up events of a gateway (`quotaloop/event@1`, one a line, in the order they ended) with some
known dirt, and `truth.json`: what the tables must say about them. The truth is an independent count made by the
generator, which shares no code with the library. This page is rendered from it; all of it is rewritten by

    python data/sample/generate.py{arguments}

More of the same shape, up to many millions of lines: `--out DIR --lines N --days D --seed S`, `--clean` or
`--dirt SHARE`, `--pieces K` (files cut in the middle of an hour), `--plain`, `--no-truth`. From Python:
`sample.stream.generate` and `labelled`, with the folder `data` on the path. Tenants, keys and models are invented.

What is in it:

- 25 tenants, a few of which carry most; nights are quiet; streams, cancelled streams, failures.
- Requests over the limit (`denied`) and what their clients do next: retries that succeed, are denied again, are given
  up, or come back in the next hour. `wonka` has an old gateway: no stamps, no `retry_of`, no `wanted_tokens`.
- Three gateways with stamps; `gw-b` restarts once and misses nothing, `gw-c` has one hole. Damaged lines had no stamp.
- Odd spellings that are right: epoch milliseconds, offsets, nanoseconds, decomposed accents, nulls, unknown fields.
- Lines that come again, word for word or in other words; damaged lines, each with one defect.
"""


def page(truth: Mapping[str, Any]) -> str:
    """The README of a generated sample."""
    made = truth["made_with"]
    arguments = "".join(f" --{name} {value}" for name, value in made.items())
    parts = [
        _INTRODUCTION.format(arguments=arguments),
        "## Lines\n",
        _table("outcome", "lines", [(name, truth[name]) for name in _OUTCOMES]),
        "## Quarantined, by reason\n",
        _table("reason", "lines", truth["reasons"].items()),
        "## Unknown fields of accepted lines\n",
        _table("field", "lines", truth["unknown_fields"].items()),
        "## Totals over accepted lines\n",
        _table("amount", "total", truth["totals"].items()),
        *_per_value(truth),
        "## Latency of what was ok (`duration_ms`, exact)\n",
        _latency(truth["latency_ok"]),
        "## Told of single tenants and gateways\n",
        _details(truth),
    ]
    return "\n".join(parts)


_OUTCOMES = ("lines", "accepted", "duplicate", "late", "quarantined")


def _per_value(truth: Mapping[str, Any]) -> Iterable[str]:
    for name in ("tenant", "api_version", "model", "protocol"):
        counts = sorted(truth[f"requests_per_{name}"].items(), key=lambda item: (-item[1], item[0]))
        yield f"## Requests per `{name}`\n"
        yield _table(name, "requests", counts)


def _table(left: str, right: str, rows: Iterable[tuple[str, int]]) -> str:
    lines = [f"| {left} | {right} |", "| --- | ---: |", *(f"| `{name}` | {count:,} |" for name, count in rows)]
    return "\n".join(lines) + "\n"


def _latency(versions: Mapping[str, Mapping[str, Any]]) -> str:
    names = ("count", "p50_ms", "p95_ms", "p99_ms")
    lines = [f"| api_version | {' | '.join(names)} |", "| --- | ---: | ---: | ---: | ---: |"]
    for version, figures in versions.items():
        lines.append(f"| `{version}` | {' | '.join(f'{figures[name]:,}' for name in names)} |")
    return "\n".join(lines) + "\n"


def _details(truth: Mapping[str, Any]) -> str:
    peak, chains = truth["peak_concurrency"], truth["chains"]
    lines = [f"- `{peak['tenant']}` has at most {peak['peak']} requests in flight, first in the hour {peak['hour']}."]
    for kind in ("requests", "tokens"):
        demand, unmet = chains[kind]["demand"], chains[kind]["unmet"]
        lines.append(f"- `{chains['tenant']}`, {kind}, sum of its hours: demand {demand:,}, unmet {unmet:,}.")
    for hole in truth["holes"]:
        where = f"`{hole['host']}`, boot `{hole['boot']}`, hour {hole['hour']}"
        lines.append(f"- Stamps missing: {hole['missing']} ({where}).")
    return "\n".join(lines) + "\n"
