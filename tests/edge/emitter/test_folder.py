"""The outbox: whole files that never change, also on another file system."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from quotaloop.edge.emitter.folder import FolderOutlet
from quotaloop.edge.emitter.segment import Segment

NAME = "1795343831113-6fc2ba39.00000000000000000001.jsonl"


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    """A closed one of two lines and half a third, which a full disk has left."""
    path = tmp_path / NAME
    path.write_bytes(b'{"n":1}\n{"n":2}\n{"n"')
    return Segment(path, "gw-1", "1795343831113-6fc2ba39", size=16, lines=2, is_closed=True)


def test_a_closed_segment_moves_whole_and_half_a_line_does_not(tmp_path: Path, segment: Segment) -> None:
    outlet = FolderOutlet(tmp_path / "new" / "outbox")
    assert outlet.send([segment]) is False
    assert segment.has_begun
    assert segment.has_left
    assert not segment.path.exists()
    assert (tmp_path / "new" / "outbox" / f"gw-1.{NAME}").read_bytes() == b'{"n":1}\n{"n":2}\n'


def test_a_segment_that_is_open_stays(tmp_path: Path, segment: Segment) -> None:
    segment.is_closed = False
    FolderOutlet(tmp_path / "outbox").send([segment])
    assert not segment.has_left
    assert segment.path.exists()


def test_across_file_systems_it_appears_under_its_name_once_it_is_whole(
    tmp_path: Path, segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, rename = tmp_path / "outbox", Path.rename
    steps: list[tuple[str, bytes]] = []

    def of_one_system(source: Path, target: Path) -> Path:
        if source.parent != target.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        steps.append((source.name, source.read_bytes()))
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", of_one_system)
    FolderOutlet(outbox).send([segment])
    assert steps == [(f".gw-1.{NAME}.part", b'{"n":1}\n{"n":2}\n')]
    assert [path.name for path in outbox.iterdir()] == [f"gw-1.{NAME}"]
    assert not segment.path.exists()


def test_an_outbox_that_cannot_be_written_keeps_the_segment(tmp_path: Path, segment: Segment) -> None:
    (tmp_path / "outbox").write_bytes(b"a file")
    with pytest.raises(OSError, match="outbox"):
        FolderOutlet(tmp_path / "outbox").send([segment])
    assert not segment.has_left
    assert segment.path.read_bytes().startswith(b'{"n":1}\n{"n":2}\n')
