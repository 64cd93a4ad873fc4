"""What a gateway says of itself: its models, its health, its OpenAPI document; and what it keeps to itself."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.examples.gateway.in_process import InProcess, status_of

PICTURE = "/api/v1/image_classify"


@pytest.fixture(scope="module")
def gateway() -> InProcess:
    return InProcess(safe_requests=10_000, safe_tokens=10_000_000)


def test_models_are_listed_and_the_one_for_tests_is_not(gateway: InProcess) -> None:
    found = gateway.ask("GET", "/api/v2/models").json()["models"]
    assert [(one["id"], one["task"]) for one in found] == [("markov", "conversation"), ("digits", "image_classify")]
    assert [one["vocabulary"] > 9 for one in found] == [True, True]


def test_before_models_are_trained_it_is_alive_but_not_ready() -> None:
    gateway = InProcess(trained=False)
    assert gateway.ask("GET", "/api/v1/health/live", key=None).status_code == 200
    for path in ("/api/v1/health/ready", "/api/v1/health"):
        response = gateway.ask("GET", path, key=None)
        assert (response.status_code, response.json()) == (503, {"status": "starting", "policy_epoch": None})
    assert gateway.written.events == []
    files = {"file": ("seven.png", b"", "image/png")}
    answers = [gateway.converse(), gateway.ask("GET", "/api/v1/models"), gateway.ask("POST", PICTURE, files=files)]
    assert [status_of(answer) for answer in answers] == [503] * 3
    assert [answer.headers["retry-after"] for answer in answers] == ["2"] * 3


def test_a_gateway_that_ends_is_alive_and_not_ready() -> None:
    gateway = InProcess()
    assert gateway.ask("GET", "/api/v1/health/ready", key=None).json()["status"] == "ready"
    assert asyncio.run(gateway.parts.lifecycle.drain(0.1))
    assert gateway.ask("GET", "/api/v1/health/ready", key=None).status_code == 503
    assert gateway.ask("GET", "/api/v1/health/live", key=None).status_code == 200
    gateway.parts.lifecycle.started()  # too late
    assert gateway.ask("GET", "/api/v1/health/ready", key=None).json()["status"] == "stopping"


def test_every_error_is_documented(gateway: InProcess) -> None:
    document = gateway.ask("GET", "/openapi.json", key=None).json()
    statuses = {
        path: set(next(iter(operations.values()))["responses"]) for path, operations in document["paths"].items()
    }
    assert statuses["/api/v2/conversation"] == {"200", "400", "401", "404", "413", "415", "422", "429", "500", "503"}
    assert statuses["/api/v2/image_classify"] == {"200", "400", "401", "413", "415", "422", "429", "500", "503"}
    assert statuses["/api/v2/models"] == {"200", "400", "401", "429", "500", "503"}
    conversation = document["paths"]["/api/v2/conversation"]["post"]["responses"]
    assert set(conversation["429"]["headers"]) >= {"RateLimit", "RateLimit-Policy", "Retry-After"}
    assert set(conversation["200"]["content"]) == {"application/json", "text/event-stream"}
    for status, answer in conversation.items():
        if status != "200":
            assert answer["content"].keys() == {"application/problem+json"}
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert document["paths"]["/api/v1/health"]["get"]["security"] == []


def test_nothing_of_a_prompt_or_an_answer_is_in_an_event() -> None:
    gateway = InProcess()
    said = gateway.converse(messages=[{"role": "user", "content": "my-very-own-words"}]).json()["message"]["content"]
    text = json.dumps(gateway.event)
    assert "my-very-own-words" not in text
    assert said not in text
