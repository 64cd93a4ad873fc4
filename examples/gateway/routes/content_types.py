"""Bodies of another media type than the one that is read are refused (415), before they are looked into."""

from __future__ import annotations

from fastapi import Request

from examples.gateway.problems import Problem


def json_alone(request: Request) -> None:
    """Raises ``Problem`` 415 for a body that does not say it is JSON."""
    _alone(request, "application/json")


def form_alone(request: Request) -> None:
    """Raises ``Problem`` 415 for a body that does not say it is a multipart form."""
    _alone(request, "multipart/form-data")


def _alone(request: Request, wanted: str) -> None:
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said != wanted:
        raise Problem(415, "The media type cannot be read", f"send {wanted}")
