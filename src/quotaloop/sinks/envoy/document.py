"""Rules as the file that Envoy's rate limit service reads, and as the lines that it prints of what it has loaded."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from quotaloop.sinks.envoy.rules import Naming, Rule

MARK = "quotaloop_policy"  # key of a rule that limits nothing: its value says which policy the service has loaded


def document(naming: Naming, epoch: int, made: Sequence[Rule]) -> bytes:
    """The file that the service reads: JSON, which is YAML; with the mark of the policy in it."""
    descriptors = [{"key": MARK, "value": mark(epoch, naming, made), "rate_limit": {"unlimited": True}}]
    return _json({"domain": naming.domain, "descriptors": [*descriptors, *_tree(naming, made)]})


def mark(epoch: int, naming: Naming, made: Sequence[Rule]) -> str:
    """The epoch and a digest of all that the service does not print, such as which rule replaces another."""
    return f"{epoch}-{hashlib.sha256(_json(_tree(naming, made))).hexdigest()[:16]}"


def printed(naming: Naming, epoch: int, made: Sequence[Rule]) -> Counter[str]:
    """The lines that the service prints of itself once it has loaded them, in no order."""
    form = f"{naming.domain}.{{}}: unit={{}} requests_per_unit={{}}, shadow_mode: {{}}, quota_mode: false"
    lines = Counter([form.format(f"{MARK}_{mark(epoch, naming, made)}", "UNKNOWN", 0, "false")])
    shadow = str(naming.shadow).lower()
    for rule in made:
        path = ".".join(f"{key}_{value}" if value else key for key, value in rule.entries)
        lines[form.format(path, rule.unit.upper(), rule.limit, shadow)] += 1
    return lines


def _tree(naming: Naming, made: Sequence[Rule]) -> list[dict[str, Any]]:
    """Rules by their first entry, then by their second, as the service looks them up."""
    root: dict[str, Any] = {}
    for rule in made:
        node = root
        for entry in rule.entries:
            node = node.setdefault("below", {}).setdefault(entry, {})
        node["rule"] = rule
    return list(_below(naming, root))


def _below(naming: Naming, node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for (key, value), child in node.get("below", {}).items():
        descriptor: dict[str, Any] = {"key": key, **({"value": value} if value else {})}
        if rule := child.get("rule"):
            descriptor["rate_limit"] = {"unit": rule.unit, "requests_per_unit": rule.limit}
            descriptor["rate_limit"] |= {"name": rule.name} if rule.name else {}
            descriptor["rate_limit"] |= {"replaces": [{"name": rule.replaces}]} if rule.replaces else {}
            descriptor |= {"shadow_mode": True} if naming.shadow else {}
        if "below" in child:
            descriptor["descriptors"] = list(_below(naming, child))
        yield descriptor


def _json(value: Any) -> bytes:
    """Without escapes of two halves for one character, which YAML does not put together again."""
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"
