"""The entry points by ``spark-submit`` on YARN, and jobs whose Python packages travel with them."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pyspark
import pytest

from jobs import environment as packages
from jobs.shipping import code_zip
from quotaloop.marts.release import current
from quotaloop.storage.address import open_store
from tests.cluster.runs import Run, environment
from tests.loop.stores import EXAMPLE, REPOSITORY, Loop, assert_same, tables_of
from tests.servers import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

JARS = f"spark.yarn.jars=local:{Path(pyspark.__file__).parent}/jars/*"
SMALL = ("spark.executor.instances=1", "spark.executor.memory=512m", "spark.executor.memoryOverhead=1g", JARS)


def submit(env: dict[str, str], entry: str, *words: str, conf: tuple[str, ...] = ()) -> None:
    """``spark-submit`` one of the entry points, with the code as a zip."""
    settings = [word for pair in (*SMALL, *conf) for word in ("--conf", pair)]
    program = str(Path(sys.executable).with_name("spark-submit"))
    command = [program, "--master", "yarn", "--py-files", str(code_zip()), *settings, *words]
    script = str(REPOSITORY / "jobs" / "spark" / f"submit_{entry}.py")
    store = ["--store", env["QUOTALOOP_STORE"]]
    ended = subprocess.run([*command, script, *store], env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]


def test_a_loop_of_submitted_jobs_with_shipped_packages_ends_with_the_same_tables(
    cluster: Cluster,
    engines: None,  # noqa: ARG001 - the run on this machine finds them
    tmp_path: Path,
) -> None:
    cluster.up()
    env = environment(cluster, f"submit-{uuid.uuid4().hex[:8]}", task_python="shipped")
    assert Run(env, "land", "files", str(EXAMPLE / "events.jsonl"), "--topic", "example").end() == 0

    submit(env | {"PYSPARK_PYTHON": sys.executable}, "parse", "--deploy-mode", "client")
    submit(
        env,
        "build",
        "--deploy-mode",
        "cluster",
        "--archives",
        f"{packages.archive()}#{packages.NAME}",
        conf=(
            f"spark.pyspark.python={packages.PYTHON}",
            f"spark.yarn.appMasterEnv.QUOTALOOP_WEBHDFS={env['QUOTALOOP_WEBHDFS']}",
        ),
    )
    run = Run(env, "run")
    assert run.end() == 0, run.said
    assert not any(line.startswith(("parse", "build")) for line in run.said), (
        run.said
    )  # they were done by the submitted

    here = Loop(tmp_path / "here")
    here.land_file(EXAMPLE / "events.jsonl", "example")
    here.run()
    store = open_store(env["QUOTALOOP_STORE"], webhdfs=env["QUOTALOOP_WEBHDFS"])
    release = current(store)
    assert release is not None
    assert_same(tables_of(store, release), here.tables())


def test_tasks_of_a_session_in_client_mode_run_with_the_packages_that_travelled(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Spark's own jars, a third of a gigabyte, do not travel: that is tried by nobody here."""
    cluster.up()
    (tmp_path / "spark-defaults.conf").write_text(JARS.replace("=", " ", 1) + "\n")
    shipped = environment(cluster, f"shipped-{uuid.uuid4().hex[:8]}", task_python="shipped")
    env = shipped | {"SPARK_CONF_DIR": str(tmp_path)}
    assert Run(env, "land", "files", str(EXAMPLE / "events.jsonl"), "--topic", "example").end() == 0
    built = Run(env, "build")
    assert built.end() == 0, "\n".join(built.said)
    assert {line.split(":")[0] for line in built.said} >= {"parse", "build"}
