"""What the repository holds: nothing of one machine, a Makefile that explains itself, pinned and hashed packages."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Written so that this file does not hold what it looks for.
_MACHINE_PATH = re.compile(r"(?:file://|(?<![\w./$})-]))/(?:home|Users|root|work|mnt)/[\w.-]")
_REGISTRY = re.compile(
    r"pypi[.]org|pythonhoste[d]|[/]simple[/]?(?=[\s'\"]|$)|(?:index-url|find-links|trusted-host)[ =]+\S*[/.]"
)
_TARGET = re.compile(r"^([a-zA-Z][\w-]*):(?!=)(.*)$", re.MULTILINE)


def _tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listing.decode().split("\0") if name and (ROOT / name).is_file()]


def _found(pattern: re.Pattern[str]) -> list[str]:
    hits = []
    for path in _tracked():
        data = path.read_bytes()
        if b"\0" in data:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
            if match := pattern.search(line):
                hits.append(f"{path.relative_to(ROOT)}:{number} {match[0]}")
    return hits


@pytest.mark.parametrize(
    ("before", "folder", "is_one"),
    [
        ("cd ", "home", True),
        ("path=", "work", True),
        ("file://", "root", True),
        ("..", "work", False),
        ("", "homely", False),
        ("$HOME", "work", False),
    ],
)
def test_paths_of_a_machine_are_told_from_others(before: str, folder: str, is_one: bool) -> None:
    assert bool(_MACHINE_PATH.search(f"{before}/{folder}/x")) is is_one


def test_no_file_names_a_path_of_one_machine() -> None:
    assert _found(_MACHINE_PATH) == []


def test_no_file_names_a_package_registry() -> None:
    assert _found(_REGISTRY) == []


def test_make_alone_lists_every_target_with_a_line_of_its_own() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    described = {name: rest.partition("## ")[2] for name, rest in _TARGET.findall(makefile)}
    assert {"help", "setup", "run", "test", "lint", "bench", "sample", "clean", "lock"} <= set(described)
    assert [name for name, text in described.items() if not text] == []
    listing = subprocess.run(
        ["make", "--no-print-directory", "-C", str(ROOT)], capture_output=True, check=True, text=True, cwd="/"
    ).stdout
    lines = [line.split(maxsplit=2) for line in listing.splitlines()]
    assert [(words[0], words[1], words[2].strip()) for words in lines] == [
        ("make", name, text.strip()) for name, text in described.items()
    ]


def test_every_phony_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert sorted(phony.split()) == sorted(name for name, _ in _TARGET.findall(makefile))


def test_every_package_is_pinned_and_hashed_and_comes_from_nowhere_in_particular() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    entry = re.compile(r"[a-z0-9][a-z0-9.-]*==[\w.+!]+(?: ; [^@]+?)?(?: +--hash=sha256:[0-9a-f]{64})+ *")
    assert [line[:60] for line in lines if not entry.fullmatch(line)] == []
    assert len(lines) > 20
    assert "://" not in text


def test_every_dependency_of_the_project_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]
    names = {re.split(r"[^\w.-]", item, maxsplit=1)[0].lower().replace("_", "-") for item in wanted} - {"quotaloop"}
    pinned = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE))
    assert names - pinned == set()
