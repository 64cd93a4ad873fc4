"""Pictures of digits, and their upload as multipart."""

from __future__ import annotations

from functools import cache
from typing import Any

from sklearn.datasets import load_digits

from examples.gateway.clients.answer import Answer
from examples.gateway.clients.connection import Connection
from examples.gateway.clients.prompt import V2, Version
from examples.gateway.clients.seen import Seen
from examples.gateway.models.pictures import png

_ENLARGED = 8  # pixels a side for each of the data set's 8 x 8


@cache
def picture(number: int) -> tuple[bytes, int]:
    """A PNG of the data set's picture of this number (0 to 1,796, dark on light), and which digit it shows."""
    digits = load_digits()
    return png(digits.images[number] / 16, scale=_ENLARGED), int(digits.target[number])


async def classify(
    connection: Connection, content: bytes, version: Version = V2, *, content_type: str = "image/png"
) -> Answer:
    """Which digit a picture shows; ``text`` holds the label that is most likely."""
    files = {"file": ("digit.png", content, content_type)}
    path = version.path("image_classify")
    return await connection.ask("POST", path, _label, files=files, headers=version.headers)


def _label(seen: Seen, document: dict[str, Any]) -> None:
    """The first version names one label, the second all of them by probability."""
    label = document["label"] if "label" in document else document["predictions"][0]["label"]
    seen.whole(label, {})
