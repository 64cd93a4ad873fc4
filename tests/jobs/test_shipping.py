"""The code as one zip."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from jobs.shipping import code_zip


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "quotaloop"


def test_the_same_code_gives_the_same_bytes_at_the_same_place(cache: Path) -> None:
    first = code_zip()
    content = first.read_bytes()
    first.unlink()
    assert code_zip() == first
    assert first.read_bytes() == content
    assert list(cache.iterdir()) == [first]


def test_it_holds_modules_and_nothing_compiled(cache: Path) -> None:
    assert cache
    names = zipfile.ZipFile(code_zip()).namelist()
    assert {"quotaloop/__init__.py", "quotaloop/latency.py", "jobs/mapreduce/mr_recount.py"} <= set(names)
    assert not [name for name in names if name.endswith(".pyc") or "__pycache__" in name]


def test_code_imported_from_the_zip_ships_that_zip(cache: Path, tmp_path: Path) -> None:
    assert cache
    archive = code_zip()
    program = "import sys; sys.path.insert(0, sys.argv[1]); import quotaloop, jobs.shipping as s; "
    program += "print(quotaloop.__file__); print(s.code_zip())"
    found = subprocess.run(
        [sys.executable, "-c", program, str(archive)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert found.stdout.splitlines() == [f"{archive}/quotaloop/__init__.py", str(archive)]
