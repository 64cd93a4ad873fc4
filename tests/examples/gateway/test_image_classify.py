"""POST /image_classify: two versions of an answer, however they are asked for, and pictures that are none."""

from __future__ import annotations

import pytest

from examples.gateway.models.classifier import unseen
from examples.gateway.models.pictures import png
from tests.examples.gateway.in_process import InProcess, status_of

PICTURE = "/api/v1/image_classify"


@pytest.fixture(scope="module")
def gateway() -> InProcess:
    return InProcess(safe_requests=10_000, safe_tokens=10_000_000)


def test_versions_answer_a_picture_in_two_shapes(gateway: InProcess) -> None:
    files = {"file": ("seven.png", png(unseen(7)), "image/png")}
    first = gateway.ask("POST", PICTURE, files=files)
    second = gateway.ask("POST", "/api/v2/image_classify", files=files)
    assert first.json().keys() == {"label", "confidence", "model"}
    assert first.json()["label"] == second.json()["predictions"][0]["label"] == "7"
    assert first.json()["confidence"] == second.json()["predictions"][0]["probability"]
    assert second.json()["usage"]["gpu_ms"] == gateway.written.events[-1]["gpu_ms"] > 0
    assert "deprecation" in first.headers
    assert "deprecation" not in second.headers


@pytest.mark.parametrize(
    ("path", "headers", "version"),
    [
        ("/api/image_classify", {}, "v1"),
        ("/api/image_classify", {"api-version": "2"}, "v2"),
        ("/api/image_classify", {"accept": "application/json;version=2.1"}, "v2"),
        ("/api/image_classify?version=latest", {}, "v2"),
        ("/api/2.0/image_classify", {}, "v2"),
        ("/api/latest/image_classify", {}, "v2"),
        ("/api/1/image_classify", {"api-version": "2"}, "v1"),
    ],
)
def test_a_version_is_asked_for_by_path_header_media_type_or_query(
    gateway: InProcess, path: str, headers: dict[str, str], version: str
) -> None:
    files = {"file": ("seven.png", png(unseen(7)), "image/png")}
    answer = gateway.ask("POST", path, files=files, headers=headers).json()
    assert ("predictions" in answer) is (version == "v2")
    event = gateway.written.events[-1]
    assert (event["api_version"], event["route"]) == (version, f"/api/{version}/image_classify")


@pytest.mark.parametrize(
    ("name", "data", "media_type", "status"),
    [
        ("file", png(unseen(7)), "image/gif", 415),
        ("file", png(unseen(7)), "application/octet-stream", 415),
        ("file", b"no picture", "image/png", 422),
        ("file", png(unseen(7))[:200], "image/png", 422),
        ("file", b"", "image/jpeg", 422),
        ("file", b"\0" * 1_048_577, "image/png", 413),
        ("other", png(unseen(7)), "image/png", 422),
    ],
)
def test_a_picture_that_cannot_be_read_is_told(
    gateway: InProcess, name: str, data: bytes, media_type: str, status: int
) -> None:
    assert status_of(gateway.ask("POST", PICTURE, files={name: ("x", data, media_type)})) == status


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"", "", 415),
        (b"x", "multipart/form-data", 400),
        (b"x", "multipart/form-data; boundary=b", 400),
        (b"file=x", "application/x-www-form-urlencoded", 415),
    ],
)
def test_a_form_that_is_none_is_told(gateway: InProcess, body: bytes, media_type: str, status: int) -> None:
    headers = {"content-type": media_type} if media_type else {}
    assert status_of(gateway.ask("POST", PICTURE, content=body, headers=headers)) == status
