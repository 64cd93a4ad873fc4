"""POST /image_classify: which digit does a picture show? Version 2 answers in another shape: why versions exist."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Depends, File, UploadFile

from examples.gateway.models import classifier
from examples.gateway.models.classifier import Digits, Label
from examples.gateway.models.pictures import FORMATS
from examples.gateway.openapi import errors
from examples.gateway.parts import Parts, parts_of
from examples.gateway.problems import Problem
from examples.gateway.routes.content_types import form_alone
from examples.gateway.schemas import LabelReply, Prediction, PredictionsReply, Spent, Trained
from quotaloop.edge import current
from quotaloop.errors import InputUnreadable

MOST_BYTES = 1_048_576
router = APIRouter(
    tags=["image_classify"],
    dependencies=[Depends(form_alone)],
    responses=errors(400, 401, 413, 415, 422, 429, 500, 503),
)
_Upload = Annotated[UploadFile, File(description="a PNG or JPEG of one digit, at most 1 MiB")]


async def labels(file: _Upload, parts: Annotated[Parts, Depends(parts_of)]) -> list[Label]:
    """All labels of an uploaded picture; raises ``Problem`` 413, 415, 422 or 503. The model works in a thread."""
    digits = parts.models.digits()
    current().model = classifier.ID
    if file.content_type not in FORMATS:
        raise Problem(415, "The picture's type cannot be read", f"send {' or '.join(FORMATS)}")
    data = await file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Problem(413, "The picture is too large", f"at most {MOST_BYTES:,} bytes")
    try:
        found, spent_ns = await asyncio.to_thread(_timed, digits, data)
    except InputUnreadable as error:
        raise Problem(422, "The picture cannot be read", str(error)) from error
    current().gpu_us = spent_ns // 1_000
    return found


_Labels = Annotated[list[Label], Depends(labels)]


@router.post("/api/v1/image_classify", operation_id="image_classify_v1")
async def image_classify(found: _Labels) -> LabelReply:
    """The digit that the picture shows most probably; dark on light or light on dark."""
    return LabelReply(label=found[0].label, confidence=found[0].probability, model=classifier.ID)


@router.post("/api/v2/image_classify", operation_id="image_classify_v2")
async def image_classify_v2(found: _Labels) -> PredictionsReply:
    """All ten digits by probability, what the model was trained on, and what the answer took."""
    return PredictionsReply(
        predictions=[Prediction(label=one.label, probability=one.probability) for one in found],
        model=Trained(id=classifier.ID, trained_on=classifier.TRAINED_ON),
        usage=Spent(gpu_ms=current().gpu_us / 1_000),
    )


def _timed(digits: Digits, data: bytes) -> tuple[list[Label], int]:
    began_ns = time.thread_time_ns()
    found = digits.labels(data)
    return found, time.thread_time_ns() - began_ns
