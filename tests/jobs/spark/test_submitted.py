"""What the entry points for ``spark-submit`` share."""

from __future__ import annotations

import sys

import pytest

from jobs import stages
from jobs.spark.submitted import main


def test_a_wrong_setting_ends_with_2_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["submit_parse.py"])
    monkeypatch.setenv("QUOTALOOP_PATIENCE", "long")
    assert main(stages.parse, None) == 2
    assert capsys.readouterr().err == "quotaloop: 'long' is not a duration: write 48h, 70m, 14d, 30s or 500ms\n"
