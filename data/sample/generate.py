"""Write a sample: ``python data/sample/generate.py --out DIR [--lines N] [--seed S] [--days D] ...``.

Without ``--out`` it rewrites the committed sample in this folder: ``requests.jsonl.gz``, ``truth.json``, ``README.md``.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sample.dirt import Labelled
from sample.page import page
from sample.stream import DAYS, DIRT, LINES, SEED, labelled
from sample.truth import Truth

HERE = Path(__file__).resolve().parent
BATCH = 5_000  # lines joined for one write
LARGE = 200_000  # lines from which speed counts for more than size


def main(arguments: list[str] | None = None) -> None:
    """Generate, count, write."""
    options = _options(arguments)
    dirt = 0.0 if options.clean else options.dirt
    options.out.mkdir(parents=True, exist_ok=True)
    truth = None if options.no_truth else Truth()
    stream = labelled(options.lines, options.seed, options.days, dirt, oversized=options.oversized)
    for number in range(options.pieces):
        size = options.lines * (number + 1) // options.pieces - options.lines * number // options.pieces
        piece = f"-{number:02d}" if options.pieces > 1 else ""
        path = options.out / f"requests{piece}.jsonl{'' if options.plain else '.gz'}"
        _write(path, islice(stream, size), truth, level=1 if options.lines >= LARGE else 9)
    if truth:
        made_with = {"lines": options.lines, "seed": options.seed, "days": options.days, "dirt": dirt}
        figures = {"made_with": made_with, **truth.figures()}
        (options.out / "truth.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")
        (options.out / "README.md").write_text(page(figures), "utf-8")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Made-up gateway traffic with a known truth.")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: the committed sample)")
    parser.add_argument("--lines", type=int, default=LINES, help="lines in all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--days", type=int, default=DAYS, help="days from 2026-03-02 on (default: %(default)s)")
    dirt = parser.add_mutually_exclusive_group()
    dirt.add_argument("--clean", action="store_true", help="no dirt and no odd spellings")
    dirt.add_argument("--dirt", type=float, default=DIRT, help="share of lines not accepted (default: %(default)s)")
    parser.add_argument("--oversized", action="store_true", help="some damaged lines are longer than 65,536 bytes")
    parser.add_argument("--pieces", type=int, default=1, help="files to cut the lines into")
    parser.add_argument("--plain", action="store_true", help="do not compress")
    parser.add_argument("--no-truth", action="store_true", help="lines only: no truth.json, no README.md")
    options = parser.parse_args(arguments)
    if min(options.lines, options.days, options.pieces) < 1 or options.seed < 0 or not 0 <= options.dirt <= 0.5:
        parser.error("lines, days and pieces are at least 1, the seed at least 0, dirt from 0 to 0.5")
    return options


def _write(path: Path, lines: Iterator[Labelled], truth: Truth | None, level: int) -> None:
    """One file; a compressed one holds neither name nor time, so that the same lines give the same file."""
    with path.open("wb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", level, raw, mtime=0) as packed:
                _copy(lines, packed, truth)
        else:
            _copy(lines, raw, truth)


def _copy(lines: Iterator[Labelled], out: BinaryIO | gzip.GzipFile, truth: Truth | None) -> None:
    while batch := list(islice(lines, BATCH)):
        out.write(b"".join([line + b"\n" for line, _ in batch]))
        if truth:
            _count(batch, truth)


def _count(batch: Iterable[Labelled], truth: Truth) -> None:
    for line, outcome in batch:
        truth.add(line, outcome)


if __name__ == "__main__":
    gc.disable()  # nothing here makes cycles worth a tenth of the time; memory stays bounded
    main()
