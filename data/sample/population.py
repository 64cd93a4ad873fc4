"""Who asks what: tenants, traffic profiles, models and the shape of a day, as tables with weights."""

from __future__ import annotations

from typing import NamedTuple

TENANTS: tuple[str, ...] = (
    *("acme", "globex", "initech", "umbrella", "wonka", "hooli", "stark", "wayne", "tyrell", "cyberdyne"),
    *("soylent", "massive-dynamic", "oscorp", "aperture", "black.mesa", "vandelay", "dunder_mifflin"),
    *("pied-piper", "gringotts", "monarch", "nakatomi", "octan", "planet-express", "007", "7"),
)
ZIPF_EXPONENT = 1.1
SILENT_TENANT = TENANTS.index("wonka")  # its gateway logs no stamp, no retry_of and no wanted_tokens

GATEWAYS: tuple[str, ...] = ("gw-a", "gw-b", "gw-c")
UNSTAMPED = len(GATEWAYS)  # number of the old gateway that gives no stamps
UNSTAMPED_SHARE = 0.12


# What a request does, which decides the fields it has (plain numbers: enum members cost too much a line).
PLAIN, IMAGE, CHAT = range(3)


class Profile(NamedTuple):
    """One kind of request; ``base_ms``, ``sigma`` and ``token_ms`` shape its duration, ``weight`` its share."""

    weight: float
    family: int
    route: str
    api_version: str
    version_source: str
    protocol: str
    base_ms: float
    sigma: float
    token_ms: float
    stream: bool

    @property
    def fields(self) -> str:
        """The fields that are the same in every request of this profile, as JSON members."""
        method = '"method":"GET",' if self.family == PLAIN else ""
        protocol = "" if self.protocol == "http" else f'"protocol":"{self.protocol}",'
        operation = ("", '"operation":"image_classify",', '"operation":"chat",')[self.family]
        return (
            f'"route":"{self.route}",{method}"api_version":"{self.api_version}",'
            f'"version_source":"{self.version_source}",{protocol}{operation}'
        )


CHAT_V1 = "/api/v1/conversation"
PROFILES: tuple[Profile, ...] = (
    Profile(17.0, CHAT, CHAT_V1, "v1", "path", "http", 220, 0.5, 9.0, False),
    Profile(21.0, CHAT, CHAT_V1, "v1", "path", "sse", 260, 0.5, 11.0, True),
    Profile(6.0, CHAT, CHAT_V1, "v1", "path", "websocket", 9000, 1.3, 11.0, True),
    Profile(5.0, CHAT, CHAT_V1, "v1", "path", "grpc", 180, 0.5, 8.0, True),
    Profile(2.5, CHAT, CHAT_V1, "v2", "header", "sse", 240, 0.5, 8.0, True),
    Profile(1.2, CHAT, CHAT_V1, "v2", "accept", "http", 200, 0.5, 7.0, False),
    Profile(0.8, CHAT, CHAT_V1, "v2", "query", "http", 200, 0.5, 7.0, False),
    Profile(1.0, CHAT, CHAT_V1, "v2", "body", "grpc", 170, 0.5, 7.0, True),
    Profile(0.7, CHAT, CHAT_V1, "v1", "path", "webrtc", 20000, 1.0, 5.0, True),
    Profile(0.9, CHAT, CHAT_V1, "v1", "default", "mcp", 300, 0.6, 9.0, False),
    Profile(15.0, IMAGE, "/api/v1/image_classify", "v1", "path", "http", 95, 0.45, 0.0, False),
    Profile(10.0, IMAGE, "/api/v2/image_classify", "v2", "path", "http", 60, 0.4, 0.0, False),
    Profile(0.9, IMAGE, "/api/v1/image_classify", "v1", "default", "mqtt", 110, 0.5, 0.0, False),
    Profile(9.5, PLAIN, "/api/v1/models", "v1", "path", "http", 6, 0.6, 0.0, False),
    Profile(8.5, PLAIN, "/api/v1/health", "v1", "path", "http", 1, 0.5, 0.0, False),
)

MODELS: tuple[tuple[str, ...], ...] = (
    ("",),  # plain requests name no model
    ("vision-s", "vision-l", "Vision XL 2"),
    ("chat-small", "chat-large", "chat-reason", "caf\u00e9-7b"),
)
MODEL_WEIGHTS: tuple[tuple[float, ...], ...] = ((1.0,), (6.0, 3.0, 1.0), (5.0, 3.0, 1.5, 0.5))
REASONING_MODEL = 2  # place of chat-reason among the chat models

# Share of a day's requests by hour of the day (UTC): quiet nights, a dip at noon.
HOUR_WEIGHTS: tuple[float, ...] = (
    *(1.2, 0.9, 0.8, 0.7, 0.8, 1.3, 2.4, 4.0, 6.2, 7.6, 8.0, 7.4),
    *(6.1, 6.9, 7.8, 7.9, 7.0, 5.6, 4.3, 3.4, 2.9, 2.5, 2.0, 1.6),
)
WEEKEND = 0.5  # a Saturday or Sunday against a working day
