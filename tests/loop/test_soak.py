"""The whole sample, as the loop meets it in a week: in seven pieces, out of order, with a run after each."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.loop.stores import REPOSITORY, Loop, assert_same_release, shuffled

PIECES = 7


@pytest.mark.soak
def test_the_sample_in_seven_pieces_out_of_order_ends_in_the_tables_of_one_run(
    spark: object,  # noqa: ARG001 - runs find the open session
    tmp_path: Path,
) -> None:
    sample = gzip.decompress((REPOSITORY / "data" / "sample" / "requests.jsonl.gz").read_bytes())
    lines = sample.removesuffix(b"\n").split(b"\n")  # a line may hold a carriage return
    size = -(-len(lines) // PIECES)
    paths = {}
    for number in range(PIECES):
        paths[f"piece-{number}"] = tmp_path / f"{number}.jsonl"
        paths[f"piece-{number}"].write_bytes(b"\n".join(lines[size * number : size * (number + 1)]))
    whole, bit_by_bit = Loop(tmp_path / "whole"), Loop(tmp_path / "bit by bit")
    for topic, path in paths.items():
        whole.land_file(path, topic)
    assert whole.run().released
    for number, topic in enumerate(shuffled(paths, seed=5), start=1):
        bit_by_bit.land_file(paths[topic], topic)
        assert bit_by_bit.run().released
        assert bit_by_bit.release().number == number
    assert_same_release(bit_by_bit, whole)
    assert sum(bit_by_bit.ledger().values()) == 2 * len(lines)
