"""GET /models: what there is to talk to."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from examples.gateway.openapi import errors
from examples.gateway.parts import Parts, parts_of
from examples.gateway.schemas import ModelsReply

router = APIRouter(tags=["models"])


@router.get(
    "/api/v1/models",
    summary="The models, version 1",
    operation_id="models_v1",
    responses=errors(400, 401, 429, 500, 503),
)
@router.get("/api/v2/models", summary="The models", operation_id="models_v2", responses=errors(400, 401, 429, 500, 503))
async def models(parts: Annotated[Parts, Depends(parts_of)]) -> ModelsReply:
    """Small models, trained when the gateway starts: a text model of trigrams, and one that reads digits."""
    return ModelsReply(models=parts.models.cards())
