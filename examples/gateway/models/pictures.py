"""Pictures as the classifier sees them: PNG or JPEG bytes to 8 x 8 grey, light on dark; and back, for a trial."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from quotaloop.errors import InputUnreadable

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG"}
MOST_PIXELS = 4_194_304
_SIDE = 8
_BROKEN = (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, IndexError)

Grey = npt.NDArray[np.float64]


def grey(data: bytes) -> Grey:
    """64 numbers from 0 (paper) to 1 (ink), by rows; of a picture with a light border, dark is ink.

    Raises ``InputUnreadable`` for what is no PNG or JPEG, is cut off, or has more than four million pixels; the size
    is read before anything is unpacked.
    """
    try:
        with Image.open(io.BytesIO(data), formats=tuple(FORMATS.values())) as image:
            if image.width * image.height > MOST_PIXELS:
                raise InputUnreadable(f"the picture has more than {MOST_PIXELS:,} pixels")
            image.draft("L", (8 * _SIDE, 8 * _SIDE))
            levels = np.asarray(_flat(image), dtype=np.float64) / 255
    except (*_BROKEN, Image.DecompressionBombError) as error:
        raise InputUnreadable("the picture cannot be read: it is broken, or neither PNG nor JPEG") from error
    return (1 - levels if _border(levels).mean() > 0.5 else levels).reshape(-1)


def png(ink: Grey, *, scale: int = 16) -> bytes:
    """A PNG, dark on light, of 64 numbers, each a square of ``scale`` pixels."""
    levels = np.round(255 * (1 - ink.reshape(_SIDE, _SIDE))).astype(np.uint8)
    packed = io.BytesIO()
    Image.fromarray(np.kron(levels, np.ones((scale, scale), dtype=np.uint8))).save(packed, "PNG")
    return packed.getvalue()


def _flat(image: Image.Image) -> Image.Image:
    """Grey, what is transparent on white, at 8 x 8."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    if image.mode.startswith("I"):  # 16 bits
        image = image.point(lambda level: level / 256).convert("L")
    return image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)


def _border(levels: Any) -> Any:
    return np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])
