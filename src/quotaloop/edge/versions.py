"""Which version of an API a request asks for: by path, header, media type, query or body, in this order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Literal

from msgspec import Struct

from quotaloop.edge.arrival import Arrival
from quotaloop.events.fields import VERSION_FORM

VersionSource = Literal["path", "header", "accept", "query", "body", "default"]
LATEST = "latest"
UNKNOWN = "unknown"  # in the event of a request for a version that there is not

_IN_MEDIA_TYPE = re.compile(r';\s*version\s*=\s*"?([^\s",;]+)', re.IGNORECASE)
_LINK = re.compile(r"[!#-;=?-~]+")  # ASCII without blanks, quotes and angle brackets


@dataclass(frozen=True, slots=True)
class Version:
    """A version by the name that events have; others may say ``aliases`` (a leading ``v`` never matters).

    Past or future, ``deprecated_at`` and ``sunset_at`` (with a zone) are told to clients by the fields of RFC 9745 and
    RFC 8594, ``link`` is where they read more. Raises ``ValueError`` for what cannot be told.
    """

    name: str
    aliases: tuple[str, ...] = ()
    deprecated_at: datetime | None = None
    sunset_at: datetime | None = None
    link: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(VERSION_FORM, self.name):
            raise ValueError(f"a version is named {VERSION_FORM}, not {self.name!r}")
        if any(time is not None and time.tzinfo is None for time in (self.deprecated_at, self.sunset_at)):
            raise ValueError(f"version {self.name}: times have a zone")
        if self.deprecated_at is not None and self.sunset_at is not None and self.sunset_at < self.deprecated_at:
            raise ValueError(f"version {self.name}: RFC 9745 lets no sunset come before the deprecation")
        if self.link is not None and not _LINK.fullmatch(self.link):
            raise ValueError(f"version {self.name}: {self.link!r} is no link")

    def fields(self) -> list[tuple[bytes, bytes]]:
        """What every answer of this version says."""
        found = []
        if self.deprecated_at is not None:
            found.append((b"deprecation", f"@{int(self.deprecated_at.timestamp())}".encode()))
        if self.sunset_at is not None:
            found.append((b"sunset", format_datetime(self.sunset_at.astimezone(UTC), usegmt=True).encode()))
        if self.link is not None and (self.deprecated_at or self.sunset_at):
            relation = "sunset" if self.deprecated_at is None else "deprecation"
            found.append((b"link", f'<{self.link}>; rel="{relation}"'.encode()))
        return found


class Asked(Struct, frozen=True, gc=False):
    """The version that is served, None for one that there is not; ``word`` is what the request said."""

    version: Version | None
    source: VersionSource
    word: str | None = None


class Versions:
    """The versions there are; ``default`` serves who asks for none, ``latest`` who asks for that.

    The first that says something decides, in the order path, header, media type (``;version=`` in ``Accept``), query,
    body; whoever comes after is not listened to. Raises ``ValueError`` for names that mean two versions.
    """

    def __init__(
        self,
        known: Sequence[Version],
        *,
        default: str,
        latest: str,
        header: str = "api-version",
        query: Sequence[str] = ("version", "api_version"),
        body_key: str = "version",
    ) -> None:
        self.known = tuple(known)
        self._by_word: dict[str, Version] = {}
        for version in self.known:
            for word in dict.fromkeys(map(_plain, (version.name, *version.aliases))):
                if self._by_word.setdefault(word, version) is not version or word in (LATEST, UNKNOWN):
                    raise ValueError(f"{word} means two versions")
        self.default, self.latest = self._named(default), self._named(latest)
        self._by_word[LATEST] = self.latest
        self._header, self._query, self._body_key = header.lower().encode(), tuple(query), body_key

    def find(self, word: str) -> Version | None:
        """The version that a word means."""
        return self._by_word.get(_plain(word))

    def words(self) -> Iterator[str]:
        """All that may stand in a path, in lower case."""
        for word in self._by_word:
            yield word
            if _plain(f"v{word}") == word:
                yield f"v{word}"

    def resolve(self, arrival: Arrival, in_path: str | None = None) -> Asked:
        """The version for a request, of whose path ``in_path`` is the part that says one."""
        if in_path is not None:
            return self._asked(in_path, "path")
        if (word := arrival.header(self._header)) is not None:
            return self._asked(word.strip(), "header")
        if (accept := arrival.listed(b"accept")) and (match := _IN_MEDIA_TYPE.search(accept)):
            return self._asked(match[1], "accept")
        if arrival.query_string:
            for name in self._query:
                if (word := arrival.query.get(name)) is not None:
                    return self._asked(word, "query")
        if arrival.body and isinstance(document := arrival.json(), dict):
            said = document.get(self._body_key)
            if isinstance(said, str | int | float) and not isinstance(said, bool):
                return self._asked(str(said), "body")
        return Asked(self.default, "default")

    def _asked(self, word: str, source: VersionSource) -> Asked:
        return Asked(self._by_word.get(_plain(word)), source, word)

    def _named(self, name: str) -> Version:
        if (found := self.find(name)) is None:
            raise ValueError(f"version {name} is none of {', '.join(version.name for version in self.known)}")
        return found


def _plain(word: str) -> str:
    """A version without its ``v``.

    >>> _plain("V2.1"), _plain("latest")
    ('2.1', 'latest')
    """
    lower = word.lower()
    return lower[1:] if lower[:1] == "v" and lower[1:2].isdigit() else lower
