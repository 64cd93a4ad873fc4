"""File formats that can be landed; each is a module that turns an opened file into native event lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Protocol

from quotaloop.raw.formats import azure_llm, llmperf, native


class Converter(Protocol):
    """What a format's module offers."""

    DERIVED: tuple[str, ...]
    """Event fields that the format lacks and that are derived; whoever imports is told so."""

    def lines(self, stream: BinaryIO, name: str) -> Iterator[bytes]:
        """The native event lines, without line ends, of an opened and decompressed file that is called ``name``.

        Raises ``InputUnreadable``, also after some lines, for a file that is not of this format.
        """
        ...


FORMATS: dict[str, Converter] = {"native": native, "azure-llm": azure_llm, "llmperf": llmperf}
