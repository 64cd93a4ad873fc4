"""Load on a gateway that is not there: every call is an attempt, and every attempt is an error."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path

from examples.gateway.load.caller import Caller, Target
from examples.gateway.load.plan import PROTOCOLS, Tenant, plan
from examples.gateway.load.report import report
from examples.gateway.load.run import run

ROOT = Path(__file__).resolve().parents[4]


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_every_call_is_counted_as_an_error_that_did_not_reach_it() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    calls = plan(7, [Tenant("acme", rate=100, leaves=0.5)], 0.5)
    assert {call.protocol for call in calls} == set(PROTOCOLS)

    async def loaded() -> dict[str, object]:
        async with Caller(Target(url, url, url.removeprefix("http://")), "key") as caller:
            attempts = await run(calls, caller.call)
            return report(attempts, {"acme": caller.signalling})

    document = asyncio.run(loaded())
    rows = document["calls"]
    assert isinstance(rows, list)
    assert sum(row["attempts"] for row in rows) == document["planned"] == len(calls)
    assert all(row["errors"] == row["unsent"] == row["attempts"] for row in rows)
    (signalling,) = document["signalling"]  # type: ignore[misc]
    (webrtc,) = (row for row in rows if row["protocol"] == "webrtc")
    assert signalling["attempts"] == signalling["unsent"] == webrtc["attempts"]


def test_the_command_tells_it_as_json_from_any_folder(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    (tmp_path / "keys.json").write_text(json.dumps({"acme": "key"}))
    words = ["--url", url, "--keys", "keys.json", "--seconds", "0.2", "--rate", "acme=50", "--protocols", "http,sse"]
    ended = subprocess.run(
        [sys.executable, "-m", "examples.gateway.load", *words, "--json"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert document["planned"] == sum(row["errors"] for row in document["calls"]) > 0


def test_a_tenant_without_a_key_is_a_wrong_call_and_no_key_is_told(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"globex": "not-to-be-said"}))
    words = ["--url", "http://127.0.0.1:1", "--keys", str(keys), "--rate", "acme=1"]
    ended = subprocess.run(
        [sys.executable, "-m", "examples.gateway.load", *words],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "has no key of acme" in ended.stderr
    assert "not-to-be-said" not in ended.stdout + ended.stderr
