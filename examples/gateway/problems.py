"""Every error as ``application/problem+json`` (RFC 9457), also those that the framework finds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
_MOST_ERRORS = 8  # that a client is told at once


class Problem(HTTPException):
    """An error that a client is told: a status of HTTP, what is wrong, and what may differ from case to case.

    It is one of the framework's, as those alone come through where a body is read.
    """

    def __init__(self, status: int, title: str, detail: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.title = title

    def document(self) -> dict[str, Any]:
        """The problem as a JSON object."""
        return document(self.status_code, self.title, self.detail)


def document(status: int, title: str, detail: str = "", **more: Any) -> dict[str, Any]:
    """A problem as a JSON object."""
    found: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    return found | ({"detail": detail} if detail else {}) | more


def response(found: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an answer; in ASCII, as what a client sent may be no Unicode."""
    return Response(json.dumps(found), int(found["status"]), dict(headers or {}), MEDIA_TYPE)


def invalid(error: RequestValidationError | ValidationError) -> dict[str, Any]:
    """What does not fit, by place, without what was sent."""
    errors = [
        {"at": "/".join(map(str, one["loc"])), "message": str(one["msg"])} for one in error.errors()[:_MOST_ERRORS]
    ]
    detail = "; ".join(f"{one['at'] or 'body'}: {one['message']}" for one in errors)
    return document(422, "The request does not fit", detail, errors=errors)


def install(app: FastAPI) -> None:
    """Let an application answer every error as a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(Exception, _unexpected)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response(error.document(), error.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return response(invalid(error))


async def _framework(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    detail = "" if error.detail == title else str(error.detail)
    return response(document(error.status_code, title, detail), error.headers)


async def _unexpected(_: Request, error: Exception) -> Response:
    del error  # the server logs it; clients are told nothing of the inside
    return response(document(500, "The gateway failed"))
