"""The README's terminal sessions: its quotaloop commands run as they stand there, in order; its make targets exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
_MAKE = re.compile(r"^make +([a-z][a-z-]*)", re.MULTILINE)


def commands(text: str) -> list[str]:
    """Lines that begin with ``$ `` in the console blocks of a page, each with the ``> `` lines after it."""
    found: list[str] = []
    for block in _BLOCK.findall(text):
        joined = re.sub(r"\\?\n> ", " ", block)
        found.extend(line[2:].strip() for line in joined.splitlines() if line.startswith("$ "))
    return found


def targets(makefile: str) -> set[str]:
    """The targets of a Makefile."""
    return set(re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.MULTILINE))


def _readme() -> list[str]:
    if not README.exists():
        pytest.skip("there is no README.md")
    return commands(README.read_text(encoding="utf-8"))


def test_commands_are_found_in_console_blocks_alone() -> None:
    page = (
        "$ quotaloop no\n```console\n$ quotaloop run\nrelease 1\n$ make \\\n> test\n$ a 'b\n> c'\n```\n"
        "```sh\n$ quotaloop no\n```\n"
    )
    assert commands(page) == ["quotaloop run", "make  test", "a 'b c'"]


def test_make_targets_of_the_readme_exist() -> None:
    named = set(_MAKE.findall(README.read_text(encoding="utf-8")))
    assert {"run", "test"} <= named <= targets((ROOT / "Makefile").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_quotaloop_commands_of_the_readme_run_as_they_stand_there(tmp_path: Path) -> None:
    called = [command for command in _readme() if command.split()[0] == "quotaloop"]
    shutil.copytree(
        ROOT / "data" / "sample", tmp_path / "data" / "sample", ignore=shutil.ignore_patterns("__pycache__")
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUOTALOOP_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "TZ": "UTC"}
    for command in called:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
