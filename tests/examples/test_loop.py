"""The demonstration: everything comes out as it was foretold, against limiters that are really there."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from examples.loop import traffic
from examples.loop.story import tell
from peers.envoy_server import SERVICE
from peers.servers import running


@pytest.mark.peers
@pytest.mark.slow
def test_the_story_ends_well(tmp_path: Path) -> None:
    if shutil.which("redis-server") is None or not SERVICE.exists():
        pytest.fail("servers are not installed; make test-peers installs them")
    told = io.StringIO()
    with running(tmp_path, envoy=True) as servers:
        assert tell(Console(file=told, width=200), tmp_path, servers), told.getvalue()
    text = " ".join(told.getvalue().split())
    decisions = re.findall(r"([0-9,]+) decisions, 0 of them other than foretold", text)
    assert len(decisions) == 2
    assert int(decisions[0].replace(",", "")) > 50_000
    ((was, now),) = re.findall(r"quiet tenants: ([0-9,]+) refusals on the day as it was, ([0-9,]+) under", text)
    assert int(was.replace(",", "")) > 100 * int(now.replace(",", ""))
    assert "envoy: in force" in text
    assert "a rollback from policy 2 to 1" in text
    assert re.search(r"asked for just that: [0-9,]+ events, api/0 offsets [0-9]+ to [0-9]+", text)


def test_a_day_is_the_same_from_its_seed_and_has_one_noisy_tenant(tmp_path: Path) -> None:
    events = list(traffic.first_come(traffic.wanted(0, 7)))
    again = list(traffic.first_come(traffic.wanted(0, 7)))
    assert json.dumps(events) == json.dumps(again)
    assert traffic.write(tmp_path / "day.gz", 0, 7) == len(events)
    denied = Counter(event["tenant"] for event in events if event["status"] == 429)
    assert denied.most_common(1)[0][0] == traffic.NOISY
    assert min(denied[tenant] for tenant in traffic.QUIET) > 100
    minutes = Counter(event["ts"] // 60_000 for event in events if event["status"] == 200)
    assert max(minutes.values()) == traffic.CAPACITY
