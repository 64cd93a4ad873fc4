"""The example of ``docs/edge.md``, run as it stands."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from quotaloop.quotas.policy import Rate
from tests.edge.driving import ask, scope_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "edge.md"


def test_the_example_of_the_page_meters_and_writes_its_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[0]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {
        "safe_capacity": {kind: Rate(10, 60, 10) for kind in ("requests", "concurrency", "compute")}
        | {"tokens": Rate(100, 60, 100)}
    }
    exec(code, names)

    async def work() -> list[int]:
        headers = [(b"authorization", b"Bearer of-acme"), (b"content-type", b"application/json")]
        scope = scope_of("/api/chat?version=2", headers=headers)
        clients = [await ask(names["app"], dict(scope), b'{"max_tokens": 90}') for _ in range(2)]
        await names["edge"].close()
        return [client.status for client in clients]

    assert asyncio.run(work()) == [200, 429]
    lines = [line for path in sorted((tmp_path / "outbox").iterdir()) for line in path.read_text().splitlines()]
    first, second = map(json.loads, lines)
    assert (first["route"], first["input_tokens"], first["output_tokens"], first["seq"]) == ("/api/v2/chat", 12, 30, 1)
    assert (second["outcome"], second["wanted_tokens"], second["host"], second["seq"]) == ("denied", 90, "gateway-1", 2)
