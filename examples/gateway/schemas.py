"""The bodies of the gateway's API: what comes in is checked strictly, unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from examples.gateway.models import generator

MOST_SEED = 2**53 - 1  # the greatest integer that every JSON reader keeps exactly
_EXAMPLE: dict[str, Any] = {"messages": [{"role": "user", "content": "What is a class?"}], "max_tokens": 32, "seed": 7}


def whole(value: Any) -> Any:
    """JSON has one kind of number: 7.0 is the integer 7."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE = BeforeValidator(whole)


class Strict(BaseModel):
    """No conversions, no unknown fields: a word that is misspelt is told, not passed over."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Message(Strict):
    """One message of a conversation."""

    role: Literal["user", "system", "assistant"]
    content: Annotated[str, Field(max_length=32_768)]


class Asked(Strict):
    """What a conversation goes on from; the fields that all protocols have."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=64)]
    model: Annotated[str, Field(min_length=1, max_length=128)] = generator.ID
    max_tokens: Annotated[int, Field(ge=1, le=1_024), _WHOLE] = 64
    seed: Annotated[int | None, Field(ge=0, le=MOST_SEED, description="the same seed, the same answer"), _WHOLE] = None


class ConversationRequest(Asked):
    """Asks the text model to go on."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE, {**_EXAMPLE, "stream": True}]})

    stream: Annotated[bool, Field(description="answer as text/event-stream, token by token")] = False
    version: Annotated[
        str | None,
        Field(pattern=r"^(v?1(\.0)?|v?2(\.[01])?|latest)$", description="of the API, where the path has none"),
    ] = None


class Usage(BaseModel):
    """Tokens that this answer is charged for; of a stream that was taken up again, those sent since."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class ConversationReply(BaseModel):
    """An answer as a whole."""

    id: str
    model: str
    message: Message
    finish_reason: Literal["length", "stop"]
    usage: Usage


class ModelCard(BaseModel):
    """What a model is; ``vocabulary`` is the number of words, or labels, it knows."""

    id: str
    task: Literal["conversation", "image_classify"]
    description: str
    vocabulary: int


class ModelsReply(BaseModel):
    """All models."""

    models: list[ModelCard]


class LabelReply(BaseModel):
    """Version 1: the most probable label."""

    label: str
    confidence: float
    model: str


class Prediction(BaseModel):
    """A label, and how probable the model holds it, 0 to 1."""

    label: str
    probability: float


class Trained(BaseModel):
    """The model that answered."""

    id: str
    trained_on: str


class Spent(BaseModel):
    """Processor time of the model, ms."""

    gpu_ms: float


class PredictionsReply(BaseModel):
    """Version 2: all labels, the most probable first."""

    predictions: list[Prediction]
    model: Trained
    usage: Spent


class Live(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Health(BaseModel):
    """Whether requests should be sent here: not before the models are trained, and no more once it is ending.

    ``policy_epoch`` is of the newest policy it has, null where it has none.
    """

    status: Literal["ready", "starting", "stopping"]
    policy_epoch: int | None = None


class Description(Strict):
    """A session description of WebRTC (JSEP)."""

    sdp: Annotated[str, Field(min_length=1, max_length=65_536)]
    type: Literal["offer"]


class RtcAnswer(BaseModel):
    """The gateway's description."""

    sdp: str
    type: Literal["answer"] = "answer"


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
