"""Sinks for Envoy's rate limit service, as tests make them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from quotaloop.settings import Settings
from quotaloop.sinks.envoy.sink import EnvoySink
from quotaloop.sinks.sink import Configuration
from quotaloop.storage.local import LocalStore

DOMAIN = "gateway"


def sink(
    folder: Path,
    *,
    tenants: Mapping[str, str] | None = None,
    patience: int = 10_000,
    target: Mapping[str, Any] | None = None,
    **options: Any,
) -> EnvoySink:
    """A sink ``edge`` that delivers to ``folder`` and asks nobody unless a ``url`` is given."""
    chosen = {"folder": str(folder), "domain": DOMAIN, "url": [], **options}
    decides = changed(EnvoySink.usual, **(target or {}))
    settings = Settings(patience=patience)
    return EnvoySink(Configuration("edge", chosen, decides, tenants or {}, settings, LocalStore(folder / "store")))
