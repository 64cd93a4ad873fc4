"""The data of a measurement: made once from a seed, landed once, kept in ``bench/data/``; none of it is timed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quotaloop.raw.landing import land_file
from quotaloop.settings import Settings
from quotaloop.storage.local import LocalStore

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "bench" / "data"
TOPIC = "bench"
DIRT = 0.01
_GENERATOR = ROOT / "data" / "sample"
_LINES_A_FILE = 500_000  # 200 MB: a raw file near the size of an HDFS block


@dataclass(frozen=True, slots=True)
class Data:
    """One day of requests: compressed JSON lines in ``files``, and the same lines landed in ``store``."""

    lines: int
    dirt: float
    folder: Path

    @property
    def files(self) -> list[Path]:
        """The lines as a gateway wrote them; as many files as the raw zone has."""
        return sorted((self.folder / "files").glob("*.jsonl.gz"))

    @property
    def store(self) -> Path:
        """A store with nothing but its raw zone."""
        return self.folder / "store"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the same disk, removed at the end."""
        with tempfile.TemporaryDirectory(prefix="scratch-", dir=self.folder) as folder:
            yield Path(folder)


def generated(lines: int, *, dirt: float = DIRT, folder: Path = DATA) -> Data:
    """The data of so many lines: what is there already, made by the generator of now, is used again."""
    data = Data(lines, dirt, folder / f"{lines}-{round(dirt * 100)}-{_digest()}")
    if not data.store.exists():
        data.folder.mkdir(parents=True, exist_ok=True)
        with data.scratch() as making:
            _generate(data, making / "files")
            land(sorted((making / "files").iterdir()), making / "store")
            shutil.rmtree(data.folder / "files", ignore_errors=True)
            (making / "files").rename(data.folder / "files")
            (making / "store").rename(data.store)
    return data


def land(files: Sequence[Path], root: Path) -> None:
    """Land files, in order, in the topic of the bench."""
    store = LocalStore(root)
    settings = Settings(store=store.url)
    for path in files:
        land_file(store, path, topic=TOPIC, file_format="native", settings=settings, now_ms=0)


def copied(store: Path, target: Path) -> Path:
    """The store once more, by hard links: its files are replaced by renaming, never written into."""
    shutil.copytree(store, target, copy_function=os.link)
    return target


def _generate(data: Data, out: Path) -> None:
    pieces = max(2, -(-data.lines // _LINES_A_FILE))
    arguments = ["--lines", data.lines, "--days", 1, "--dirt", data.dirt, "--pieces", pieces, "--no-truth"]
    command = [sys.executable, _GENERATOR / "generate.py", "--out", out, *arguments]
    subprocess.run([str(word) for word in command], check=True)


def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(_GENERATOR.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
