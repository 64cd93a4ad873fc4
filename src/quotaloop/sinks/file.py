"""The file sink: the policy as one file of the store, replaced in one rename, for limiters that read files."""

from __future__ import annotations

from typing import ClassVar

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.quotas.policy import Policy, check_push, parse, render
from quotaloop.quotas.target import OUR_CHOICES, OURS
from quotaloop.sinks.sink import Configuration

TARGET = "published/policy.json"


class FileSink:
    """The policy byte for byte at ``path``, a path of the store.

    A store has no compare-and-set for a file that is replaced: two publications at once are kept apart by the lease of
    a run, and ``drift`` sees the older one if it was last.
    """

    usual = OURS
    choices = OUR_CHOICES
    options: ClassVar = frozenset({"path"})

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._store = configuration.store
        self._path = configuration.options.get("path", TARGET)
        if not isinstance(self._path, str) or ".." in self._path.split("/") or self._path.startswith("/"):
            raise UsageError(f"sink {configuration.name}: path is one of the store, not {self._path!r}")

    def check(self, policy: Policy) -> None:
        """A file holds every valid policy."""
        check_push(policy, None)

    def publish(self, policy: Policy) -> None:
        """Put the policy in the place of the one before, or of what is no policy."""
        published = self._published()
        check_push(policy, published if published and published.epoch > policy.epoch else None)
        if self._bytes() != render(policy):
            self._store.replace(self._path, render(policy))

    def epoch(self) -> int | None:
        """Of the policy in the file."""
        published = self._published()
        return published.epoch if published else None

    def drift(self, policy: Policy) -> list[str]:
        """Are the bytes exactly this policy's?"""
        data = self._bytes()
        if data == render(policy):
            return []
        if data is None:
            return [f"{self._path} is missing"]
        try:
            there = parse(data)
        except CheckRefused as error:
            return [f"{self._path} is not a policy: {error}"]
        if there.epoch == policy.epoch:
            return [f"{self._path} is not policy {policy.epoch} as published, somebody changed it"]
        return [f"{self._path} holds policy {there.epoch}"]

    def _published(self) -> Policy | None:
        data = self._bytes()
        if data is None:
            return None
        try:
            return parse(data)
        except CheckRefused:  # damaged; ``drift`` tells
            return None

    def _bytes(self) -> bytes | None:
        try:
            return self._store.read(self._path)
        except FileNotFoundError:
            return None
