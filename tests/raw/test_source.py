"""Files as users have them: opened as what they hold, and damaged or dangerous ones refused by name."""

from __future__ import annotations

import gzip
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import zstandard

from quotaloop.errors import InputUnreadable
from quotaloop.raw import source
from quotaloop.raw.source import open_source, sha256

CONTENT = b"".join(b'{"line":%d}\n' % number for number in range(20_000))


def zst(content: bytes) -> bytes:
    """With a checksum, as the command line tool writes it."""
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(content)


def read(path: Path, *, max_bytes: int = 10**9, max_inflation: int = 200) -> bytes:
    with open_source(path, max_bytes=max_bytes, max_inflation=max_inflation) as stream:
        return stream.read()


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


SOUND = {
    "a.jsonl": CONTENT,
    "a.jsonl.gz": gzip.compress(CONTENT, mtime=0),
    "a.jsonl.zst": zst(CONTENT),
    "members.gz": gzip.compress(CONTENT[:5000], mtime=0)
    + gzip.compress(b"", mtime=0)
    + gzip.compress(CONTENT[5000:], mtime=0),
    "frames.zst": zst(CONTENT[:5000]) + zst(b"") + zst(CONTENT[5000:]),
    "one-byte-frames.zst": zst(CONTENT[:1]) + zst(CONTENT[1:2]) + zst(CONTENT[2:]),
    "padded.gz": gzip.compress(CONTENT, mtime=0) + b"\0" * 512,
    "no-extension": CONTENT,
    "a.csv": CONTENT,
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_file_is_read_as_what_it_holds(tmp_path: Path, name: str) -> None:
    assert read(put(tmp_path, name, SOUND[name])) == CONTENT


@pytest.mark.parametrize(("name", "content"), [("a", b""), ("a.gz", gzip.compress(b"", mtime=0)), ("a.zst", zst(b""))])
def test_a_file_of_nothing_holds_nothing(tmp_path: Path, name: str, content: bytes) -> None:
    assert read(put(tmp_path, name, content)) == b""


@pytest.mark.parametrize("sip", [1, 7, 1024])
def test_frames_are_joined_wherever_reading_stops(tmp_path: Path, sip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_SIP", sip)
    assert read(put(tmp_path, "f.zst", SOUND["frames.zst"])) == CONTENT


def refused(path: Path, **limits: int) -> str:
    with pytest.raises(InputUnreadable) as error:
        read(path, **limits)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 4
    return str(error.value)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "members.gz", "frames.zst"])
@pytest.mark.parametrize("kept", [5, 12, 200, 0.5, -9, -1])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, name: str, kept: float) -> None:
    whole = SOUND[name]
    end = len(whole) // 2 if kept == 0.5 else int(kept)
    assert "cut off or damaged" in refused(put(tmp_path, name, whole[:end]))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_file_with_bytes_changed_in_the_middle_is_refused(tmp_path: Path, name: str) -> None:
    whole = bytearray(SOUND[name])
    for at in range(len(whole) // 2, len(whole) // 2 + 40):
        whole[at] ^= 0x55
    refused(put(tmp_path, name, bytes(whole)))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_file_whose_blocks_cannot_be_decoded_is_refused(tmp_path: Path, name: str) -> None:
    assert "cut off or damaged" in refused(put(tmp_path, name, SOUND[name][:20] + b"\xff" * 200))


def test_a_checksum_that_is_wrong_is_seen(tmp_path: Path) -> None:
    whole = bytearray(SOUND["a.jsonl.gz"])
    whole[-6] ^= 1
    assert "cut off or damaged" in refused(put(tmp_path, "a.gz", bytes(whole)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.gz", CONTENT),
        ("a.zst", CONTENT),
        ("a.gz", zst(CONTENT)),
        ("a.zst", gzip.compress(CONTENT, mtime=0)),
        ("a.jsonl", gzip.compress(CONTENT, mtime=0)),
        ("a.jsonl", zst(CONTENT)),
        ("a.gz", b""),
        ("a.zst", b""),
        ("a.gz", b"\x1f"),
    ],
)
def test_an_extension_that_does_not_fit_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    assert "not what its extension says" in refused(put(tmp_path, name, content))


@pytest.mark.parametrize("outer", [".gz", ".zst"])
@pytest.mark.parametrize("inner", [gzip.compress(CONTENT, mtime=0), zst(CONTENT)], ids=["gz", "zst"])
def test_a_compressed_file_inside_a_compressed_file_is_refused(tmp_path: Path, outer: str, inner: bytes) -> None:
    wrapped = gzip.compress(inner, mtime=0) if outer == ".gz" else zst(inner)
    assert "holds another compressed file" in refused(put(tmp_path, f"a{outer}", wrapped))


@pytest.mark.parametrize("name", ["bomb.gz", "bomb.zst"])
def test_a_file_that_inflates_beyond_the_ratio_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_SMALL", 1_000_000)
    zeros = bytes(3_000_000)
    path = put(tmp_path, name, gzip.compress(zeros, mtime=0) if name.endswith("gz") else zst(zeros))
    assert "inflates beyond 1000000 bytes" in refused(path, max_inflation=10)
    assert read(path, max_inflation=10**6) == zeros


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_a_file_beyond_the_size_is_refused_and_one_of_just_that_size_is_not(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, name, SOUND[name])
    assert "inflates beyond" in refused(path, max_bytes=len(CONTENT) - 1)
    assert read(path, max_bytes=len(CONTENT)) == CONTENT


def test_a_zstd_bomb_does_not_fill_the_memory_before_it_is_seen(tmp_path: Path) -> None:
    """2 GiB of zeros lie in less than 100 kB; the process that reads them may have 1.5 GiB."""
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    packed = b"".join(packer.compress(piece) for piece in [bytes(1 << 24)] * 128) + packer.flush()
    assert len(packed) < 100_000
    path = put(tmp_path, "bomb.zst", packed)
    program = """
        import resource, sys
        from pathlib import Path
        from quotaloop.errors import InputUnreadable
        from quotaloop.raw.source import open_source
        resource.setrlimit(resource.RLIMIT_AS, (1536 * 1024**2, 1536 * 1024**2))
        try:
            with open_source(Path(sys.argv[1]), max_bytes=2**40, max_inflation=200) as stream:
                while stream.read(1 << 20):
                    pass
        except InputUnreadable as error:
            sys.exit(str(error))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(path)], check=False, capture_output=True, text=True
    )
    assert "inflates beyond" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        assert "cannot be read" in refused(path)
        with pytest.raises(InputUnreadable, match="cannot be read"):
            sha256(path)


def test_the_digest_is_of_the_bytes_on_disk(tmp_path: Path) -> None:
    assert sha256(put(tmp_path, "a", b"abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
