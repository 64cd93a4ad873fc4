"""What a client asks of the gateway, and under which version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Prompt:
    """One user's message; the same prompt and seed get the same tokens."""

    text: str
    max_tokens: int = 64
    seed: int | None = None
    model: str = "markov"

    def body(self) -> dict[str, Any]:
        """As JSON documents and frames hold it."""
        asked = {"model": self.model, "max_tokens": self.max_tokens, "seed": self.seed}
        return {"messages": [{"role": "user", "content": self.text}], **asked}


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the interface, named in the path or by a header."""

    name: str = "v2"
    in_header: bool = False

    def path(self, resource: str) -> str:
        """For example ``/api/v2/conversation``."""
        return f"/api/{resource}" if self.in_header else f"/api/{self.name}/{resource}"

    @property
    def headers(self) -> dict[str, str]:
        """What goes with that path."""
        return {"api-version": self.name} if self.in_header else {}


V2 = Version()
