"""The example of ``docs/limiter.md``, run as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.limiter.test_limiter import limit, policy

PAGE = Path(__file__).resolve().parents[2] / "docs" / "limiter.md"


def test_the_example_of_the_page_runs_and_settles() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {"policy": policy(limit("acme", "tokens", 2_000))}
    exec(code, names)
    assert names["answer"].allowed
    later = names["limiter"].reserve("acme", "attempt-2", {"tokens": 0}, now_ms=1_772_452_804_000, model="large")
    assert dict(later.decisions)["tokens"].remaining == 2_000 - 830
