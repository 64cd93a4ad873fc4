"""The OpenAPI document against the running gateway: made-up requests get no 5xx and no answer that it does not name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.gateway.running_gateway import Gateway

PLENTY = {
    "safe_requests": 1_000_000,
    "safe_tokens": 100_000_000,
    "safe_compute": 1_000_000_000,
    "safe_concurrency": 1_000,
}
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@pytest.mark.parametrize(
    ("limits", "is_known", "examples"),
    [
        pytest.param(PLENTY, True, 4, id="let in"),
        pytest.param(PLENTY, True, 500, id="let in, many", marks=pytest.mark.soak),
        pytest.param(PLENTY, False, 500, id="no key", marks=pytest.mark.soak),
        pytest.param({"safe_requests": 5}, True, 500, id="refused", marks=pytest.mark.soak),
    ],
)
def test_every_answer_is_one_that_the_document_names(
    tmp_path: Path, limits: dict[str, int], is_known: bool, examples: int
) -> None:
    gateway = Gateway(tmp_path, ["acme"], faults=0, **limits)
    gateway.start()
    key = gateway.keys["acme"] if is_known else "wrong"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{gateway.url}/openapi.json", "--url", gateway.url),
        *("--header", f"Authorization: Bearer {key}", "--phases", "examples,coverage,fuzzing"),
        *("--max-examples", str(examples), "--seed", "1", "--checks", ",".join(CHECKS), "--no-color"),
    ]
    try:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
        assert "Tested: 10" in done.stdout
        events = gateway.events_of("acme" if is_known else "anonymous", 50)
        assert not [event for event in events if event["status"] >= 500]
        assert any(event["outcome"] == "denied" for event in events) is (
            "safe_requests" in limits and limits is not PLENTY
        )
    finally:
        gateway.kill()
