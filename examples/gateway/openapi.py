"""What the OpenAPI document says of every operation alike: problems, header fields, keys."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from examples.gateway import schemas
from examples.gateway.models.pictures import FORMATS
from examples.gateway.problems import MEDIA_TYPE, document

Responses = dict[int | str, dict[str, Any]]

_WHY = {
    400: "There is no such version, or the body cannot be read",
    401: "The key is missing or not known",
    404: "There is no such model",
    413: "The body is too large",
    415: "The media type is none of those that can be read",
    422: "The request does not fit",
    429: "A limit is reached: come back after Retry-After",
    500: "The gateway or the model failed",
    503: "The gateway starts or ends, or its limits cannot be checked",
}
_TEXT = {"type": "string"}
_FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "RateLimit": ("What is left of each limit, and when all of it is back", _TEXT),
    "RateLimit-Policy": ("The limits", _TEXT),
    "Retry-After": ("Seconds until the request may pass", {"type": "integer", "minimum": 0}),
    "Deprecation": ("Of a version that goes away: since when (RFC 9745)", _TEXT),
    "Sunset": ("Of a version that goes away: until when it is served (RFC 8594)", _TEXT),
    "X-Request-Id": ("The event of this request", _TEXT),
}
_ALWAYS = ("X-Request-Id", "Deprecation", "Sunset")
_COUNTED = ("RateLimit", "RateLimit-Policy")


def errors(*statuses: int) -> Responses:
    """The problems that an operation may answer with."""
    return {
        status: {
            "description": _WHY[status],
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": document(status, _WHY[status]),
                }
            },
        }
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Let an application describe itself with all of that."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _described(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    components = found.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = schemas.Problem.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "an API key"}}
    components["headers"] = {name: {"description": text, "schema": schema} for name, (text, schema) in _FIELDS.items()}
    for path, operations in found["paths"].items():
        is_public = path.startswith("/api/v1/health")
        for operation in operations.values():
            operation["security"] = [] if is_public else [{"key": []}]
            if (form := operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")) is not None:
                form["encoding"] = {"file": {"contentType": ", ".join(FORMATS)}}
            if not is_public:
                _add_fields(operation["responses"])
    return found


def _add_fields(responses: dict[str, Any]) -> None:
    for status, answer in responses.items():
        names = [*_ALWAYS, *(() if status in ("400", "401") else _COUNTED)]
        names += ["Retry-After"] if status in ("429", "503") else []
        answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
