"""Liveness and readiness, apart: one says restart me, the other send me nothing. Neither is metered."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from examples.gateway.openapi import Responses
from examples.gateway.parts import Parts, parts_of
from examples.gateway.schemas import Health, Live

router = APIRouter(tags=["health"])
_NOT_READY: Responses = {503: {"model": Health, "description": "Not yet trained, or ending"}}


@router.get("/api/v1/health/live")
async def live() -> Live:
    """The process answers."""
    return Live()


@router.get("/api/v1/health/ready", response_model=Health, responses=_NOT_READY)
@router.get("/api/v1/health", response_model=Health, responses=_NOT_READY)
async def ready(parts: Annotated[Parts, Depends(parts_of)]) -> JSONResponse:
    """Whether requests should be sent here: 503 until the models are trained, and while the gateway ends."""
    state = parts.lifecycle.state
    epoch = parts.follower.epoch if parts.follower else 0
    return JSONResponse({"status": state, "policy_epoch": epoch or None}, 200 if state == "ready" else 503)
