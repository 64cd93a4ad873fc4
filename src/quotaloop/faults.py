"""Named points at which a test may end the process, as a power cut would.

``QUOTALOOP_KILL_AT=<point>`` ends the process with SIGKILL when it gets there, ``QUOTALOOP_STOP_AT=<point>`` puts it to
sleep until it is sent SIGCONT. The points are those of the commit sequence; nothing else depends on them.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "import:prepared",
    "import:claimed",
    "import:recorded",
    "import:range",
    "parse:columns",
    "parse:rejects",
    "parse:unit",
    "build:files",
    "recount:done",
    "audit:done",
    "release:days",
    "release:numbered",
    "release:current",
    "policy:numbered",
    "policy:put",
    "policy:published",
)
BRIDGE_POINTS = ("bridge:received", "bridge:produced", "bridge:delivered", "bridge:acknowledged")
LANDING_POINTS = ("kafka:claimed", "kafka:copied", "kafka:range", "kafka:closed")
REDIS_SINK_POINTS = ("redis_sink:checked", "redis_sink:written")
KAFKA_SINK_POINTS = ("kafka_sink:sent", "kafka_sink:committed")
LITELLM_SINK_POINTS = ("litellm:checked", "litellm:updated")
KONG_SINK_POINTS = ("kong:checked",)
ENVOY_SINK_POINTS = ("envoy_sink:begun", "envoy_sink:written", "envoy_sink:link_made", "envoy_sink:linked")


def reached(point: str) -> None:
    """Say that the work got to ``point``."""
    if os.environ.get("QUOTALOOP_KILL_AT") == point:
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("QUOTALOOP_STOP_AT") == point:
        os.kill(os.getpid(), signal.SIGSTOP)
