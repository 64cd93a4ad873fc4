"""The sink for Envoy's rate limit service: rules in a folder that it watches, read back from its debug port."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import Any, ClassVar

from quotaloop.errors import CheckRefused, ServiceUnreachable, UsageError
from quotaloop.quotas.policy import Policy, check_push
from quotaloop.quotas.target import Manner, Target
from quotaloop.sinks.envoy.delivery import Delivery
from quotaloop.sinks.envoy.document import MARK, document, printed
from quotaloop.sinks.envoy.rules import Naming, rules
from quotaloop.sinks.envoy.service import Instances
from quotaloop.sinks.sink import Configuration

_KEYS = ("kind_key", "tenant_key", "model_key", "version_key")
_SUBDIRECTORY = "ratelimit"
_MOST_LINES = 100


class EnvoySink:
    """Every rule of one service, which may have several instances over one Redis; it has no other rules.

    For each kind that a request takes something of, a gateway asks for four descriptors at once, with what it takes as
    their ``hitsAddend``: (kind, tenant), (kind, model, tenant), (kind, api_version, tenant) and (kind, model,
    api_version, tenant). One without a rule is not limited, so all limits whose scope fits hold together. For a domain
    that the service does not know, everything passes.
    """

    usual = Target(
        {"requests": "fixed_window", "tokens": "fixed_window", "compute": "fixed_window"},
        Manner(together=False, counts_refused=True),
    )
    choices: ClassVar = {kind: frozenset({"fixed_window"}) for kind in ("requests", "tokens", "compute")}
    options: ClassVar = frozenset({"folder", "subdirectory", "domain", "url", "shadow", *_KEYS})

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._naming = _naming(configuration)
        self._delivery = Delivery(Path(_text(configuration, "folder")), _subdirectory(configuration))
        self._instances = Instances(_urls(configuration), configuration.settings.patience)

    def check(self, policy: Policy) -> None:
        """The service takes whole numbers up to 2^32 - 1 in its own periods, and names that mean one thing to it."""
        check_push(policy, None)
        rules(self.configuration, self._naming, policy)

    def publish(self, policy: Policy) -> None:
        """Deliver, then wait until the service has loaded it or patience is at its end: ``drift`` tells which."""
        self.check(policy)
        made = rules(self.configuration, self._naming, policy)
        data, lines = document(self._naming, policy.epoch, made), printed(self._naming, policy.epoch, made)
        with self._reachable():
            self._check_newer(policy)
            if self._delivery.differences(policy.epoch, data):
                self._delivery.put(policy.epoch, data)
            elif not self._instances.have(lines):
                self._delivery.announce()
        self._instances.wait(lines)

    def epoch(self) -> int | None:
        """Of the newest rules in the folder, also of those that never came into force."""
        with self._reachable():
            return self._delivery.epoch()

    def drift(self, policy: Policy) -> list[str]:
        """What the files say, and what each instance has loaded; without a ``url``, the files alone."""
        made = rules(self.configuration, self._naming, policy)
        with self._reachable():
            found = self._delivery.differences(policy.epoch, document(self._naming, policy.epoch, made))
        found += self._instances.differences(printed(self._naming, policy.epoch, made))
        return found[:_MOST_LINES]

    def _check_newer(self, policy: Policy) -> None:
        there = self._delivery.epoch()
        if there is not None and there > policy.epoch:
            where = f"{self._delivery.folder} holds policy {there}"
            raise CheckRefused(f"policy {policy.epoch} is refused whole: {where}, push a newer one")

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ServiceUnreachable(f"sink {self.configuration.name}, {self._delivery.folder}: {error}") from error


def _naming(configuration: Configuration) -> Naming:
    """Raises ``UsageError`` for keys that could be taken for one another where they are joined with ``_``."""
    options, name = configuration.options, configuration.name
    shadow = options.get("shadow", False)
    if not isinstance(shadow, bool):
        raise UsageError(f"sink {name}: shadow is true or false, not {shadow!r}")
    keys = {key: _text(configuration, key) for key in _KEYS if key in options}
    naming = Naming(_text(configuration, "domain"), shadow=shadow, **keys)
    for first, second in permutations((MARK, *(getattr(naming, key) for key in _KEYS)), 2):
        if f"{first}_".startswith(f"{second}_"):
            raise UsageError(f"sink {name}: keys {first} and {second} could be taken for one another")
    return naming


def _subdirectory(configuration: Configuration) -> str:
    """Not empty, or the service would let everything pass; not hidden, or it would not look into it."""
    name: Any = configuration.options.get("subdirectory", _SUBDIRECTORY)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
        raise UsageError(f"sink {configuration.name}: subdirectory is a plain name of a folder, not {name!r}")
    return name


def _urls(configuration: Configuration) -> list[str]:
    """Of the debug ports; an empty list has to be said, since nothing is known of the service then."""
    found = configuration.options.get("url")
    urls = [found] if isinstance(found, str) else found
    if not isinstance(urls, list) or not all(
        re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", str(url)) for url in urls
    ):
        raise UsageError(
            f"sink {configuration.name}: url is that of the service's debug port, http://HOST:PORT, or a list of those "
            "of all its instances; [] if only the files are to be compared"
        )
    return [url.rstrip("/") for url in urls]


def _text(configuration: Configuration, option: str) -> str:
    value = configuration.options.get(option)
    if not isinstance(value, str) or not value or not value.isprintable() or value.endswith("*"):
        raise UsageError(f"sink {configuration.name}: {option} is a name, not {value!r}")
    return value
