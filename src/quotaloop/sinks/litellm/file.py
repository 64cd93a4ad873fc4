"""The limits file of LiteLLM: what ``litellm_auth``, the auth hook of a proxy without database, reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.faults import reached
from quotaloop.quotas.policy import Policy, check_push, epoch_ms
from quotaloop.sinks.litellm.auth import FORMAT, parsed
from quotaloop.sinks.litellm.limits import Fields, differences, key_hash, safe_fields
from quotaloop.sinks.sink import Configuration
from quotaloop.storage.local import LocalStore


class LimitsFile:
    """One JSON file at the local path ``path``, replaced in one rename: numbers by hash of a key, never a key."""

    def __init__(self, configuration: Configuration, window_seconds: int) -> None:
        self._configuration = configuration
        self._window_s = window_seconds
        path = configuration.options.get("path")
        if not isinstance(path, str) or not Path(path).is_absolute():
            raise UsageError(f"sink {configuration.name}: path is an absolute one of this machine, not {path!r}")
        self._path = Path(path)
        self._hashes = {tenant: key_hash(configuration, tenant) for tenant in configuration.tenants}
        if len(set(self._hashes.values())) < len(self._hashes):
            raise UsageError(f"sink {configuration.name}: two tenants have the same key")

    def publish(self, policy: Policy, limits: dict[str, Fields]) -> None:
        """Put the limits in the place of those before."""
        there = self.epoch()
        check_push(policy, replace(policy, epoch=there) if there and there > policy.epoch else None)
        data = self._rendered(policy, limits)
        if self._bytes() != data:
            reached("litellm:checked")
            LocalStore(self._path.parent).replace(self._path.name, data)

    def epoch(self) -> int | None:
        """Of the policy in the file; raises ``CheckRefused`` for a file that is not one of limits."""
        data = self._bytes()
        try:
            return None if data is None else int(parsed(data)["epoch"])
        except ValueError as error:
            raise CheckRefused(f"{self._path} is not a limits file; remove it and publish again: {error}") from error

    def drift(self, policy: Policy, limits: dict[str, Fields]) -> list[str]:
        """A line a difference; bytes that say the same in another way are one."""
        data = self._bytes()
        wanted = self._rendered(policy, limits)
        if data == wanted:
            return []
        if data is None:
            return [f"{self._path} is missing"]
        try:
            there = parsed(data)
        except ValueError as error:
            return [f"{self._path} is not a limits file: {error}"]
        if there["epoch"] != policy.epoch:
            return [f"{self._path} holds policy {there['epoch']}"]
        found = self._differences(there, json.loads(wanted))
        return found or [f"{self._path} is not policy {policy.epoch} as published, somebody changed it"]

    def _differences(self, there: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
        found = [
            f"{name} is not as published"
            for name in ("valid_from_ms", "expires_at_ms", "safe_capacity")
            if there[name] != wanted[name]
        ]
        for hashed, fields in wanted["keys"].items():
            tenant = fields.pop("tenant")
            if hashed not in there["keys"]:
                found.append(f"{tenant}: its key is missing")
            else:
                found += [f"{tenant}: {line}" for line in differences(there["keys"][hashed], fields)]
        others = there["keys"].keys() - wanted["keys"].keys()
        return found + [f"key {hashed[:8]}... is of no tenant" for hashed in sorted(others)]

    def _rendered(self, policy: Policy, limits: dict[str, Fields]) -> bytes:
        document = {
            "format": FORMAT,
            "epoch": policy.epoch,
            "valid_from_ms": epoch_ms(policy.valid_from),
            "expires_at_ms": epoch_ms(policy.expires_at),
            "safe_capacity": safe_fields(self._configuration, policy, self._window_s),
            "keys": {self._hashes[tenant]: {"tenant": tenant, **fields} for tenant, fields in limits.items()},
        }
        return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"

    def _bytes(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
