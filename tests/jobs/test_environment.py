"""The packages as one archive, for nodes that have Python alone."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from jobs import environment

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
