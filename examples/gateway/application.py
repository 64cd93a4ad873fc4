"""The application: FastAPI with all routes, inside of the edge."""

from __future__ import annotations

from fastapi import FastAPI

from examples.gateway import openapi, problems
from examples.gateway.body_limit import BodyLimit
from examples.gateway.edge import BODY_BYTES
from examples.gateway.parts import Parts
from examples.gateway.routes import conversation, health, image_classify, models, rtc, socket
from examples.gateway.rtc import Peers
from quotaloop.edge.asgi import Metered

DESCRIPTION = """A small API of two toy models, to show what an API metered by Quotaloop looks like.

Versions go by path, or without one in it by the header `api-version`, `;version=` in `Accept`, the query parameter
`version`, or the field `version` of a JSON body. Errors are `application/problem+json`."""
_FORM_BYTES = image_classify.MOST_BYTES + 65_536  # a picture, and what a form puts around it


def create(parts: Parts) -> Metered:
    """The application as a server runs it: metered."""
    return Metered(build(parts), parts.edge)


def build(parts: Parts) -> FastAPI:
    """The application without its edge, which its handlers need: to read its OpenAPI document, for example."""
    app = FastAPI(
        title="Example gateway",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.parts, app.state.peers = parts, Peers(parts)
    for room in (models, image_classify, conversation, rtc, health, socket):
        app.include_router(room.router)
    app.add_middleware(BodyLimit, most=_most)
    problems.install(app)
    openapi.install(app)
    return app


def _most(path: str) -> int:
    return _FORM_BYTES if path.endswith("/image_classify") else BODY_BYTES
