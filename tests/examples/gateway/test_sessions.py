"""The curl sessions of the READMEs, against the real gateway: commands run as they stand, answers are as they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.gateway.running_gateway import Gateway

ROOT = Path(__file__).resolve().parents[3]
PAGES = ("examples/gateway/README.md", "README.md")
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)


def session(text: str) -> Iterator[tuple[str, str]]:
    """Commands of the console blocks, each with what it is said to print, of those that ask the gateway."""
    for block in _BLOCK.findall(text):
        if "$GATEWAY" not in block:
            continue
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.split("\n")
            count = 1
            while count < len(lines) and lines[count].startswith("> "):
                count += 1
            yield "\n".join([lines[0], *(line[2:] for line in lines[1:count])]), "\n".join(lines[count:]).strip()


def pattern(expected: str) -> re.Pattern[str]:
    """``[...]`` stands for anything; at the end of what is printed, also for nothing."""
    return re.compile(r".*?".join(map(re.escape, expected.split("[...]"))), re.DOTALL)


def here() -> dict[str, str]:
    """An environment in which commands are those of this project, from any folder."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
    }


def test_sessions_are_read_with_what_they_print() -> None:
    page = '```console\n$ curl -s $GATEWAY/a \\\n>   -d x\n{"a":[...]}\n\nb\n$ curl $GATEWAY/c\n```\n'
    page += "```console\n$ quotaloop run\n```\n"
    assert list(session(page)) == [("curl -s $GATEWAY/a \\\n  -d x", '{"a":[...]}\n\nb'), ("curl $GATEWAY/c", "")]
    assert pattern('{"a":[...]}').fullmatch('{"a":1, "b":2}')
    assert not pattern('{"a":[...]}').fullmatch('{"b":1}')


def test_load_is_put_on_a_gateway_as_the_page_says(tmp_path: Path) -> None:
    text = (ROOT / PAGES[0]).read_text("utf-8")
    block = next(
        found for found in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE) if ".load" in found
    )
    keys, serve, load = re.split(r"\n(?=python )", block.strip())
    assert keys.startswith("python -m examples.gateway keys --tenants noisy,quiet ")
    assert serve == "python -m examples.gateway serve --http2-port 8082 --grpc-port 8081 &"
    environment = here()
    gateway = Gateway(tmp_path, [], faults=0)
    subprocess.run(["bash", "-c", keys], cwd=tmp_path, env=environment, check=True)
    try:
        gateway.start()  # at ports that are free, instead of those that the page names
        load = load.replace("http://127.0.0.1:8080", gateway.url).replace("http://127.0.0.1:8082", gateway.http2)
        load = load.replace("127.0.0.1:8081", gateway.grpc).replace("--seconds 10", "--seconds 1") + " --json"
        done = subprocess.run(
            ["bash", "-c", load], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)["calls"]
        assert {(row["tenant"], row["protocol"]) for row in rows} >= {("noisy", "grpc"), ("noisy", "sse")}
        assert all(row["attempts"] == row["ok"] + row["refused"] for row in rows), rows
    finally:
        gateway.kill()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", PAGES)
def test_the_curl_sessions_of_a_page_run_as_they_stand(tmp_path: Path, page: str) -> None:
    asked = list(session((ROOT / page).read_text("utf-8")))
    assert asked
    gateway = Gateway(tmp_path, ["acme"], safe_requests=20, faults=0)
    gateway.start()
    environment = here() | {"GATEWAY": gateway.url, "KEY": gateway.keys["acme"], "no_proxy": "127.0.0.1"}
    try:
        for command, expected in asked:
            done = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            said = done.stdout.replace("\r", "").strip()
            assert done.returncode == 0, f"$ {command}\n{said}\n{done.stderr}"
            found = pattern(expected)
            whole = found.fullmatch(said) if not expected.endswith("[...]") else found.match(said)
            assert whole, f"$ {command}\n{said}\nis not\n{expected}"
    finally:
        gateway.kill()
