"""Recounts that a stand-in for the ``hadoop`` command lets fail: what is said, and what stays behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.mapreduce import hadoop
from jobs.mapreduce.recount import Recount, recount
from jobs.mapreduce.store_fs import SCRATCH
from quotaloop.errors import QuotaloopError, ServiceUnreachable
from quotaloop.settings import Settings
from quotaloop.storage.local import LocalStore

REFUSED = (
    "Error Launching job : Call From a/127.0.0.1 to rm:8032 failed on connection exception: "
    "java.net.ConnectException: Connection refused; For more details see:  http://wiki.apache.org/hadoop/ConnectionRefused"
)


class Cluster:
    """One raw file in a store, and a ``hadoop`` that logs one line and ends as it is told."""

    def __init__(self, workshop: Any, folder: Path) -> None:
        self.workshop, self.folder = workshop, folder
        self.store = LocalStore(workshop.root)
        self.file = self.store.uri(str(Path(workshop.land(workshop.event("e", 0))).relative_to(workshop.root)))

    def recount(self, level: str, line: str, code: int) -> Recount:
        command = self.folder / "hadoop"
        log = f"echo '26/03/02 00:00:00 {level} streaming.StreamJob: {line}' >&2"
        command.write_text(f"#!/bin/sh\n[ $1 = version ] && echo Hadoop 3.4.2 && exit\n{log}\nexit {code}\n")
        command.chmod(0o755)
        settings = Settings(hadoop_bin=str(command), hadoop_streaming_jar=str(command))
        switches = hadoop.options(settings, 1, self.store.uri(SCRATCH))
        plan = self.workshop.plan([0])
        return recount([self.file], plan, runner="hadoop", options=switches, store=self.store)

    def left(self) -> list[str]:
        """What lies where the files of jobs do."""
        return [info.path for info in self.store.files(SCRATCH)]


@pytest.fixture
def cluster(workshop: Any, tmp_path: Path) -> Cluster:
    return Cluster(workshop, tmp_path)


def test_a_resource_manager_that_does_not_answer_is_a_service_away(cluster: Cluster) -> None:
    with pytest.raises(ServiceUnreachable, match=r"YARN: Error Launching job : .* Connection refused") as caught:
        cluster.recount("ERROR", REFUSED, 5)
    assert "\n" not in str(caught.value)


def test_a_job_that_cannot_be_launched_says_why_and_a_failed_one_leaves_nothing_in_the_store(cluster: Cluster) -> None:
    with pytest.raises(QuotaloopError, match="failed: a task: Error launching job , Invalid job conf : x") as caught:
        cluster.recount("ERROR", "Error launching job , Invalid job conf : x", 3)
    assert caught.value.exit_code == 1
    assert cluster.left() == []


def test_a_job_whose_counters_did_not_come_back_is_said_to_have_none(cluster: Cluster) -> None:
    with pytest.raises(QuotaloopError, match="no counters of the recount came back"):
        cluster.recount("INFO", "Output directory: x", 0)
    assert cluster.left() == []
