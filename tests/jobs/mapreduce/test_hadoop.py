"""What mrjob is told where the recount runs on a cluster."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jobs import environment
from jobs.mapreduce.hadoop import options
from quotaloop.errors import ServiceUnreachable
from quotaloop.settings import Settings


def told(settings: Settings, lines: int = 1) -> dict[str, str]:
    """Switches and properties by their names."""
    words = options(settings, lines, "hdfs://h/s/_tmp")
    switches = dict(zip(words[::2], words[1::2], strict=True)) | {"-D": ""}
    properties = [value for name, value in zip(words[::2], words[1::2], strict=True) if name == "-D"]
    return switches | dict(pair.split("=", 1) for pair in properties)


@pytest.fixture
def hadoop(tmp_path: Path) -> str:
    command = tmp_path / "hadoop"
    command.write_text("#!/bin/sh\n")
    return str(command)


def test_memory_is_that_of_a_task_and_reducers_grow_with_the_lines(hadoop: str) -> None:
    found = told(Settings(hadoop_bin=hadoop, task_memory="3GB"), lines=5_500_000)
    assert found["mapreduce.map.memory.mb"] == found["mapreduce.reduce.memory.mb"] == str(3072 + 256)
    assert found["mapreduce.map.java.opts"].split()[0] == found["mapreduce.reduce.java.opts"].split()[0] == "-Xmx256m"
    assert found["mapreduce.job.reduces"] == "5"
    assert told(Settings(hadoop_bin=hadoop))["mapreduce.job.reduces"] == "1"


def test_a_resource_manager_that_is_away_is_waited_for_as_long_as_the_patience_says(hadoop: str) -> None:
    found = told(Settings(hadoop_bin=hadoop, patience=7_000))
    prefix = "yarn.resourcemanager.connect."
    assert (found[f"{prefix}max-wait.ms"], found[f"{prefix}retry-interval.ms"]) == ("7000", "3500")
    assert told(Settings(hadoop_bin=hadoop, patience=0))[f"{prefix}retry-interval.ms"] == "1"  # 0 would divide by it


def test_python_is_that_of_here_another_or_one_that_travels(hadoop: str) -> None:
    assert told(Settings(hadoop_bin=hadoop))["--python-bin"] == sys.executable
    assert told(Settings(hadoop_bin=hadoop, task_python="/opt/p"))["--python-bin"] == "/opt/p"
    shipped = told(Settings(hadoop_bin=hadoop, task_python="shipped"))
    assert shipped["--python-bin"] == "./environment/bin/python"
    assert shipped["--archives"] == f"{environment.archive()}#environment"


def test_the_command_is_found_by_setting_by_home_or_on_the_path(
    hadoop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HADOOP_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceUnreachable, match="QUOTALOOP_HADOOP_BIN"):
        options(Settings(), 1, "x")
    Path(hadoop).chmod(0o755)
    assert told(Settings())["--hadoop-bin"] == hadoop
    (tmp_path / "home" / "bin").mkdir(parents=True)
    Path(hadoop).rename(tmp_path / "home" / "bin" / "hadoop")
    monkeypatch.setenv("HADOOP_HOME", str(tmp_path / "home"))
    assert told(Settings())["--hadoop-bin"] == f"{tmp_path}/home/bin/hadoop"
