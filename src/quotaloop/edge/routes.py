"""Route templates: what a request is for, before any framework has looked at it."""

from __future__ import annotations

import re
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from quotaloop.edge.versions import Version, Versions
from quotaloop.events.fields import FIELDS

UNMATCHED = "/*"  # the route of requests that no template is for
VERSION = "{version}"

_PARAMETER = re.compile(r"\{[A-Za-z_]\w*\}")
_REMEMBERED = 4_096  # paths
_LONGEST = 512  # of a path that is remembered: clients choose them
_LONGEST_VERSION = "0" * 32
_check = next(field.check for field in FIELDS if field.name == "route")


@dataclass(frozen=True, slots=True)
class Route:
    """A template such as ``/api/{version}/conversation``: ``{version}`` says a version, other names match one segment.

    ``metered`` False lets requests through without limits and events, ``public`` without a known tenant;
    ``reads_body`` lets the edge read JSON bodies up to its bound first, for version and estimate. ``exchanges`` is a
    WebSocket whose handler begins the exchanges that are counted. ``versioned`` is the template that a path without
    version is passed on to. Raises ``ValueError`` for a template that cannot be matched or stand in an event.
    """

    path: str
    operation: str | None = None
    metered: bool = True
    public: bool = False
    reads_body: bool = False
    exchanges: bool = False
    versioned: str | None = None

    def __post_init__(self) -> None:
        _check_template(self.path)
        if self.versioned is not None:
            _check_template(self.versioned)
            if _PARAMETER.findall(self.versioned) != [VERSION]:
                raise ValueError(f"route {self.path}: {self.versioned} holds {VERSION} and no other parameter")

    def passed_on(self, scope: MutableMapping[str, Any], version: Version | None) -> MutableMapping[str, Any]:
        """The scope of ASGI that a handler gets: a path without version becomes that of the version."""
        if self.versioned is None or version is None:
            return scope
        path = scope.get("root_path", "") + self.versioned.replace(VERSION, version.name)
        return {**scope, "path": path, "raw_path": path.encode()}

    def name(self, version: Version | None) -> str:
        """What events call the route when it is served by that version."""
        return (self.versioned or self.path).replace(VERSION, version.name if version else VERSION)


@dataclass(frozen=True, slots=True)
class Matched:
    """The route of a path, and what stands in the place of its version."""

    route: Route
    version_word: str | None = None


class Routes:
    """All routes of an application; the first that fits counts, one without parameters before others."""

    def __init__(self, routes: Sequence[Route], versions: Versions) -> None:
        self._exact: dict[str, Matched] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []
        for route in routes:
            if not _PARAMETER.search(route.path):
                self._exact.setdefault(route.path, Matched(route))
            else:
                self._patterns.append((_pattern(route.path), route))
        for route in routes:
            if VERSION in route.path and len(_PARAMETER.findall(route.path)) == 1:
                for word in versions.words():
                    path = route.path.replace(VERSION, word)
                    self._exact.setdefault(path, self._search(path))
        self._searched = lru_cache(_REMEMBERED)(self._search)

    def match(self, path: str) -> Matched:
        """The route of a path; of one that none is for, a route named ``/*``."""
        return self._exact.get(path) or (self._searched if len(path) <= _LONGEST else self._search)(path)

    def _search(self, path: str) -> Matched:
        for pattern, route in self._patterns:
            if match := pattern.fullmatch(path):
                return Matched(route, match.groupdict().get("version"))
        return _NO_ROUTE


def _check_template(path: str) -> None:
    """Raises ``ValueError``; two parameters in one segment would take quadratic time to match."""
    names = _PARAMETER.findall(path)
    if _check(path.replace(VERSION, _LONGEST_VERSION)) is not None:
        raise ValueError(f"route {path!r}: it begins with /, and has at most 256 characters, none of them blank")
    if len(set(names)) < len(names) or any(len(_PARAMETER.findall(segment)) > 1 for segment in path.split("/")):
        raise ValueError(f"route {path}: a segment has one parameter, each of another name")
    if set("{}") & set(_PARAMETER.sub("", path)):
        raise ValueError(f"route {path}: a parameter is {{name}}")


def _pattern(path: str) -> re.Pattern[str]:
    parts = _PARAMETER.split(path)
    names = [name[1:-1] for name in _PARAMETER.findall(path)]
    groups = [f"(?P<{name}>[^/]+)" for name in names]
    return re.compile("".join(re.escape(part) + group for part, group in zip(parts, [*groups, ""], strict=True)))


_NO_ROUTE = Matched(Route(UNMATCHED))
