"""The edge of an API: limits in force on every request, and one event of each."""

from quotaloop.edge.arrival import Arrival, Estimate, Identity
from quotaloop.edge.edge import Edge, current
from quotaloop.edge.exchange import Exchange
from quotaloop.edge.refusal import Refused
from quotaloop.edge.routes import Route
from quotaloop.edge.session import Session
from quotaloop.edge.versions import Version, Versions

__all__ = [
    "Arrival",
    "Edge",
    "Estimate",
    "Exchange",
    "Identity",
    "Refused",
    "Route",
    "Session",
    "Version",
    "Versions",
    "current",
]
