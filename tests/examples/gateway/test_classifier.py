"""The picture model: it reads what it has not seen, whatever the picture is packed in, and refuses what is none."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from examples.gateway.models import classifier
from examples.gateway.models.classifier import Digits
from examples.gateway.models.pictures import grey, png
from quotaloop.errors import InputUnreadable


@pytest.fixture(scope="module")
def digits() -> Digits:
    return classifier.train()


def _seven() -> bytes:
    return png(classifier.unseen(7))


def _packed(image: Image.Image, kind: str = "PNG") -> bytes:
    packed = io.BytesIO()
    image.save(packed, kind)
    return packed.getvalue()


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_it_was_not_trained_on_is_read(digits: Digits, digit: int) -> None:
    labels = digits.labels(png(classifier.unseen(digit)))
    assert labels[0].label == str(digit)
    assert sorted(label.label for label in labels) == list("0123456789")
    assert sum(label.probability for label in labels) == pytest.approx(1)
    assert [label.probability for label in labels] == sorted((one.probability for one in labels), reverse=True)


def test_most_of_what_it_was_not_trained_on_is_read(digits: Digits) -> None:
    assert classifier.accuracy(digits) > 0.95


def test_a_picture_comes_out_as_it_went_in() -> None:
    ink = np.linspace(0, 1, 64)
    ink.reshape(8, 8)[[0, -1]] = ink.reshape(8, 8)[:, [0, -1]] = 0  # a border of paper
    assert grey(png(ink)) == pytest.approx(ink, abs=0.5 / 255)
    assert grey(png(1 - ink)) == pytest.approx(ink, abs=0.5 / 255)  # light on dark is dark on light


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_read(digits: Digits, mode: str) -> None:
    image = Image.open(io.BytesIO(_seven()))
    converted = image.convert("I").point(lambda level: level * 256).convert(mode) if mode == "I;16" else None
    assert digits.labels(_packed(converted or image.convert(mode)))[0].label == "7"


def test_a_jpeg_is_read(digits: Digits) -> None:
    assert digits.labels(_packed(Image.open(io.BytesIO(_seven())), "JPEG"))[0].label == "7"


def test_what_is_transparent_is_paper(digits: Digits) -> None:
    shape = Image.open(io.BytesIO(_seven())).point(lambda level: 255 - level)
    drawn = Image.new("RGBA", shape.size, (0, 0, 0, 0))
    drawn.putalpha(shape)
    assert digits.labels(_packed(drawn))[0].label == "7"


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"no picture", _seven()[:200]])
def test_what_is_no_whole_png_or_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(InputUnreadable, match="broken, or neither PNG nor JPEG"):
        grey(data)


def test_a_gif_is_refused() -> None:
    with pytest.raises(InputUnreadable):
        grey(_packed(Image.new("L", (8, 8)), "GIF"))


def test_a_picture_of_very_many_pixels_is_refused_before_it_is_unpacked() -> None:
    """Of the first, the size is all that is there: unpacking it would be said to be broken."""
    header = struct.pack(">IIBBBBB", 8_000, 8_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    body = b"IDAT" + zlib.compress(b"")
    data += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    with pytest.raises(InputUnreadable, match="more than 4,194,304 pixels"):
        grey(data)
    with pytest.raises(InputUnreadable, match="more than 4,194,304 pixels"):
        grey(_packed(Image.new("1", (2_049, 2_048))))
