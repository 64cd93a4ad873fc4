"""The entry points as ``spark-submit`` takes them: alone in a process of Spark's, the rest of the code in a zip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.shipping import code_zip
from tests.loop.stores import HOUR, REPOSITORY, Loop, event


def submit(loop: Loop, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """One entry point, called from a folder that is not the checkout."""
    program = Path(sys.executable).with_name("spark-submit")
    job = REPOSITORY / "jobs" / "spark" / script
    zipped = str(code_zip())
    words = [program, "--master", "local[2]", "--py-files", zipped, job, "--store", loop.store.url]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUOTALOOP_")}
    return subprocess.run(
        words,
        cwd=folder,
        env=environment | {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_a_submitted_build_is_what_the_run_goes_on_with(engines: None, tmp_path: Path) -> None:  # noqa: ARG001
    loop = Loop(tmp_path / "store")
    loop.land("t", *(event(f"e{number}", number * HOUR) for number in range(3)))
    parsed = submit(loop, "submit_parse.py", tmp_path)
    assert (parsed.returncode, parsed.stdout) == (0, ""), parsed.stderr
    assert loop.work().unparsed == []
    built = submit(loop, "submit_build.py", tmp_path)
    assert (built.returncode, built.stdout) == (0, f"revision {loop.work().revision}: 3 hours\n"), built.stderr
    files = {path: path.stat().st_mtime_ns for path in (loop.root / "marts").rglob("*.parquet")}
    assert loop.run().released
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert loop.sql("SELECT sum(requests) FROM usage_hourly") == [(3,)]


@pytest.mark.slow
def test_a_submitted_job_ends_with_the_exit_code_of_the_command_line(tmp_path: Path) -> None:
    loop = Loop(tmp_path / "store")
    loop.land_records("t", (-1, b"{}"))
    hole = loop.root / "raw" / "t" / "p=00000" / f"{5:020d}-{6:020d}.jsonl.gz"
    hole.write_bytes(b"")
    refused = submit(loop, "submit_build.py", tmp_path)
    assert refused.returncode == 3, refused.stderr
    # spark-submit shows what Python writes on standard error as its own output
    assert refused.stdout.startswith("quotaloop: raw ranges do not tile: a gap between t/0/0-1 and t/0/5-6")
