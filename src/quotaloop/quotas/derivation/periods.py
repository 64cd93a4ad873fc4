"""The period that limits of each kind are derived for."""

from __future__ import annotations

from collections.abc import Mapping

from quotaloop.quotas.policy import Kind

PER_SECONDS: Mapping[Kind, int] = {"requests": 60, "tokens": 60, "compute": 60, "concurrency": 1}
