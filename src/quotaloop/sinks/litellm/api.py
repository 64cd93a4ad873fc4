"""Limits of LiteLLM keys or teams by its management API, with the epoch in the metadata of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.faults import reached
from quotaloop.quotas.policy import Policy, check_push
from quotaloop.sinks.litellm.client import Client
from quotaloop.sinks.litellm.limits import MODEL_FIELDS, Fields, differences, key_hash
from quotaloop.sinks.sink import Configuration

EPOCH = "quotaloop_epoch"
_FIRST = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """A key or team as LiteLLM has it: its columns, and its metadata, where limits of models lie."""

    columns: Mapping[str, Any]
    metadata: Mapping[str, Any]

    @property
    def epoch(self) -> int | None:
        """Of the policy that was written there last."""
        epoch = self.metadata.get(EPOCH)
        return epoch if type(epoch) is int else None

    def differences(self, epoch: int, fields: Fields) -> list[str]:
        """What is not as published under that epoch."""
        if self.epoch != epoch:
            return [f"holds no policy, not {epoch}" if self.epoch is None else f"holds policy {self.epoch}"]
        models = {name: self.metadata.get(name) for name in MODEL_FIELDS.values()}
        return differences({**self.columns, **models}, fields)

    def evasion(self, fields: Fields) -> str | None:
        """A setting of the key under which LiteLLM does not enforce these limits; None if there is none."""
        for name in ("rpm_limit_type", "tpm_limit_type"):
            if self.metadata.get(name) == "dynamic":
                return f"its {name} is dynamic: LiteLLM enforces that limit only while a model fails"
        if self.metadata.get("throttle_on_budget_exceeded") is True and 0 in (
            fields.get("rpm_limit"),
            fields.get("tpm_limit"),
        ):
            return "it is suspended, and its throttle_on_budget_exceeded lets 1 pass where the limit is 0"
        return None


class ManagementApi:
    """All tenants of the identity map, each by one update: limits and epoch of a tenant are there together or not.

    A push that is cut off leaves tenants of the older epoch: ``drift`` lists them. Between reading an entry and writing
    it, another change of its metadata may be lost: LiteLLM has no compare-and-set.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._name = configuration.name
        self._what = configuration.options.get("of", "key")
        if self._what not in ("key", "team"):
            raise UsageError(f"sink {self._name}: of is key or team, not {self._what!r}")
        if self._what == "team" and "concurrency" in configuration.target.algorithms:
            raise UsageError(f"sink {self._name}: LiteLLM counts no concurrency of teams: leave it out of algorithms")
        self._client = Client(configuration)
        self._ids = {
            tenant: key_hash(configuration, tenant) if self._what == "key" else team
            for tenant, team in sorted(configuration.tenants.items())
        }
        if len(set(self._ids.values())) < len(self._ids):
            raise UsageError(f"sink {self._name}: two tenants have the same key")

    def publish(self, policy: Policy, limits: dict[str, Fields]) -> None:
        """See that all is there and can be held, then write what differs, tenant by tenant."""
        entries = {tenant: self._existing(tenant) for tenant in limits}
        there = max((entry.epoch or 0 for entry in entries.values()), default=0)
        check_push(policy, replace(policy, epoch=there) if there > policy.epoch else None)
        for tenant, fields in limits.items():
            if reason := entries[tenant].evasion(fields):
                raise CheckRefused(f"sink {self._name} cannot hold {tenant}: {reason}")
        reached("litellm:checked")
        for tenant, fields in limits.items():
            if entries[tenant].differences(policy.epoch, fields):
                self._update(tenant, entries[tenant], fields, policy.epoch)
                reached("litellm:updated")

    def epoch(self) -> int | None:
        """The greatest of any tenant; one whose key or team is missing has none."""
        entries = [self._entry(tenant) for tenant in self._ids]
        return max((entry.epoch for entry in entries if entry and entry.epoch is not None), default=None)

    def drift(self, policy: Policy, limits: dict[str, Fields]) -> list[str]:
        """A line a field, by tenant."""
        found: list[str] = []
        for tenant, fields in limits.items():
            entry = self._entry(tenant)
            if entry is None:
                found.append(f"{tenant}: its {self._what} is missing")
            else:
                lines = [*entry.differences(policy.epoch, fields), entry.evasion(fields)]
                found += [f"{tenant}: {line}" for line in lines if line]
            if len(found) >= _FIRST:
                break
        return found

    def _existing(self, tenant: str) -> Entry:
        entry = self._entry(tenant)
        if entry is None:
            raise CheckRefused(f"sink {self._name}: LiteLLM has no {self._what} of {tenant}: nothing was written")
        return entry

    def _entry(self, tenant: str) -> Entry | None:
        """None for one that is not there, or was deleted: LiteLLM answers with deleted keys from its archive too."""
        if self._what == "key":
            answer = self._client.get("/key/info", key=self._ids[tenant])
        else:
            answer = self._client.get("/team/info", team_id=self._ids[tenant])
        columns = (answer or {}).get("info" if self._what == "key" else "team_info")
        if not isinstance(columns, dict) or columns.get("status") == "deleted":
            return None
        metadata = columns.get("metadata")
        return Entry(columns, metadata if isinstance(metadata, dict) else {})

    def _update(self, tenant: str, entry: Entry, fields: Fields, epoch: int) -> None:
        """One update. LiteLLM replaces metadata as a whole, and ``model_rpm_limit: null`` beside it changes nothing."""
        models = {name: fields[name] for name in MODEL_FIELDS.values() if name in fields}
        kept = {name: value for name, value in entry.metadata.items() if name not in models}
        metadata = {**kept, **{name: limits for name, limits in models.items() if limits}, EPOCH: epoch}
        columns = {name: value for name, value in fields.items() if name not in models}
        who = {"key" if self._what == "key" else "team_id": self._ids[tenant]}
        self._client.post(f"/{self._what}/update", {**who, **columns, "metadata": metadata})
