"""The demonstration, in a short form: a running gateway, a noisy tenant, the loop, its limits in force."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.fresh_folder import fresh_folder
from quotaloop.errors import UsageError
from quotaloop.quotas.policy import parse

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_quiet_tenants_are_refused_less_and_the_noisy_one_is_held_to_its_limit(tmp_path: Path) -> None:
    others = tmp_path / "another store"
    environment = os.environ | {"QUOTALOOP_STORE": others.as_uri(), "GATEWAY_KAFKA_BROKERS": "127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-m", "examples.gateway.demo", str(tmp_path / "demo"), "--seconds", "8"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = " ".join(done.stdout.split())
    quiet = re.search(r"quiet tenants: (\d+) calls refused in the end before, (\d+) after", said)
    noisy = re.search(r"acme: (\d+) requests passed in \d+ s, of (\d+) that its limit lets through", said)
    assert quiet is not None
    assert noisy is not None
    before, after, passed, most = map(int, (*quiet.groups(), *noisy.groups()))
    assert before > after
    assert 0 < passed <= most
    policy = parse((tmp_path / "demo" / "store" / "published" / "policy.json").read_bytes())
    assert (policy.epoch, {limit.tenant for limit in policy.limits}) == (1, {"acme", "globex", "initech", "umbrella"})
    assert not others.exists()  # what the environment names is left alone


def test_a_folder_that_holds_something_else_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    with pytest.raises(UsageError, match="holds what no demonstration made"):
        fresh_folder(tmp_path)
    assert (tmp_path / "kept").exists()
    made = fresh_folder(tmp_path / "new")
    (made / "left").touch()
    assert not (fresh_folder(made) / "left").exists()
