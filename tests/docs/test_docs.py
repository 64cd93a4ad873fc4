"""The pages of docs/ against the declarations they are generated from."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import fields as dataclass_fields
from pathlib import Path
from types import ModuleType

import pytest

from quotaloop.events.fields import FIELDS
from quotaloop.events.parser import REASONS
from quotaloop.marts.tables import PUBLISHED
from quotaloop.marts.views import EVENT_COLUMNS
from quotaloop.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _generator()


def _sections(page: str) -> dict[str, list[list[str]]]:
    """Heading to the rows of its table, each a list of cells without emphasis; the head of the table is left out."""
    found: dict[str, list[list[str]]] = {}
    for part in re.split(r"^#+ ", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("|")]
        rows = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in lines[2:]]
        found[heading.strip("` ")] = [[cell.strip("*` ") for cell in row] for row in rows]
    return found


def test_the_generated_pages_are_current() -> None:
    stale = [path.name for path, text in generate.pages().items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run `make docs`"


def test_check_fails_for_a_page_that_was_edited_and_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, text in generate.pages().items():
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(generate, "HERE", tmp_path)
    assert generate.main(["--check"]) == 0
    (tmp_path / "tables.md").write_text("edited", encoding="utf-8")
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == "docs/tables.md is not current: run `make docs`\n"
    assert (tmp_path / "tables.md").read_text(encoding="utf-8") == "edited"
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_column_of_a_published_table_is_documented(name: str) -> None:
    rows = _sections("tables.md")[name]
    assert [row[0] for row in rows] == [column.name for column in PUBLISHED[name].columns]
    assert all(row[2] for row in rows)


def test_every_column_of_the_event_view_is_documented() -> None:
    rows = _sections("tables.md")["events"]
    assert [row[0] for row in rows] == list(EVENT_COLUMNS)
    assert all(row[2] for row in rows)


@pytest.mark.parametrize("view", ["quota_decisions", "rate_limit_against_policy"])
def test_every_column_of_a_derived_view_is_documented(view: str) -> None:
    rows = _sections("tables.md")[view]
    assert [row[0] for row in rows] == list(generate.sql_columns(view))
    assert set(generate.view_docs(view)) == set(generate.sql_columns(view))


def test_every_view_is_documented() -> None:
    assert set(generate.VIEWS) | set(PUBLISHED) == set(_sections("tables.md")) - {"Tables", "Views"}


def test_every_field_of_an_event_is_documented_and_nothing_else() -> None:
    assert set(generate.FIELDS) == {field.name for field in FIELDS}
    (rows,) = (rows for heading, rows in _sections("events.md").items() if heading.startswith("Events"))
    assert [(row[0], row[1], row[2] == "yes") for row in rows] == [
        (field.name, field.kind, field.required) for field in FIELDS
    ]


def test_every_reason_is_documented() -> None:
    assert [row[0] for row in _sections("events.md")["Outcomes of a line"]] == list(REASONS)


def test_every_setting_is_documented_and_nothing_else() -> None:
    names = [field.name for field in dataclass_fields(Settings)]
    assert list(generate.SETTINGS) == names
    rows = _sections("operations.md")["Settings"]
    assert [(row[0], row[1]) for row in rows] == [(name, f"QUOTALOOP_{name.upper()}") for name in names]


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_decision_records_are_short_and_say_context_decision_and_consequence() -> None:
    for page in sorted((DOCS / "decisions").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == ["Context", "Decision", "Consequence"], page.name
        assert text.startswith(f"# {int(page.name[:4])}. "), page.name
        assert len(text.splitlines()) <= 25, page.name
