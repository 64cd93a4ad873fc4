"""The packages as one archive, for nodes that have Python alone."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from jobs import environment
from quotaloop.errors import QuotaloopError

PROGRAM = """
import sys
import confluent_kafka, duckdb, hdfs, isal, mrjob, msgspec, numpy, pandas, pyarrow, zstandard
print(sys.argv[1], duckdb.__file__, "pyspark" in sys.modules)
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive as YARN unpacks it: under the name that its paths are written for."""
    folder = tmp_path_factory.mktemp("node")
    with tarfile.open(environment.archive()) as tar:
        tar.extractall(folder / environment.NAME, filter="data")
    return folder


def test_what_tasks_import_comes_from_the_archive(unpacked: Path) -> None:
    bare = {"PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"}
    command = [environment.PYTHON, "-S", "-c", PROGRAM, "said"]
    ended = subprocess.run(command, cwd=unpacked, env=bare, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    said, path, _ = ended.stdout.split()
    assert (said, Path(path).is_relative_to(unpacked)) == ("said", True)


def test_neither_spark_nor_the_projects_own_code_travel_in_it(unpacked: Path) -> None:
    packages = {path.name for path in (unpacked / environment.NAME / "packages").iterdir()}
    assert not packages & {"pyspark", "quotaloop", "jobs", "great_expectations", "pytest"}


def test_it_is_made_once() -> None:
    before = environment.archive().stat().st_mtime_ns
    assert environment.archive().stat().st_mtime_ns == before


class Package:
    """An installed package of one module, and nothing else to be shipped."""

    def __init__(self, folder: Path) -> None:
        self.about = folder / "small-1.0.dist-info"
        self.about.mkdir()
        (self.about / "METADATA").write_text("Name: small\nVersion: 1.0\n")
        self.build("old")

    def build(self, content: str) -> None:
        (self.about.parent / "small.py").write_text(content)
        digest = hashlib.sha256(content.encode()).hexdigest()
        (self.about / "RECORD").write_text(f"small.py,sha256={digest},{len(content)}\n")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Package(tmp_path)
    monkeypatch.setattr(environment, "_distributions", lambda: {"small": PathDistribution(made.about)})
    return made


def test_a_package_that_was_built_again_under_its_version_and_another_machine_have_archives_of_their_own(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = environment.archive()
    package.build("new")
    second = environment.archive()
    with tarfile.open(second) as tar:
        module = tar.extractfile("packages/small.py")
        assert module is not None
        assert module.read() == b"new"
    monkeypatch.setattr(environment, "get_platform", lambda: "linux-aarch64")
    assert len({first, second, environment.archive()}) == 3


def test_a_package_without_a_list_of_its_files_is_named(package: Package) -> None:
    (package.about / "RECORD").unlink()
    with pytest.raises(QuotaloopError, match="small was installed without a list of its files"):
        environment.archive()
