"""How limits are shown: what changes, what was tried, where it is in force, and why a limit is what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from rich.console import Group
from rich.table import Table
from rich.text import Text

from quotaloop.quotas.policy import Limit, Policy, epoch_ms, render, rfc3339
from quotaloop.results import Derivation, Publication
from quotaloop.terminal.output import grid, plain, table

if TYPE_CHECKING:
    from quotaloop.quotas.evaluation.evaluate import Evaluation


def derivation(item: Derivation) -> dict[str, Any]:
    """What came of deriving, as JSON."""
    return {
        "new": item.is_new,
        "message": item.message,
        "fit_hours": item.fit_hours,
        "policy": json.loads(render(item.policy)) if item.policy else None,
        "objections": [str(one) for one in item.objections],
    }


def derivation_text(item: Derivation) -> Group | Text:
    """What came of deriving, for people."""
    if item.policy is None:
        return plain(item.message)
    limits = [
        {
            "tenant": limit.tenant,
            "kind": limit.kind,
            "limit": limit.limit,
            "per_seconds": limit.per_seconds,
            "burst": limit.burst,
            "bound_by": limit.evidence.get("bound_by"),
            "estimated": "yes" if limit.evidence.get("estimated") else "",
        }
        for limit in item.policy.limits
    ]
    return Group(plain(f"policy {item.policy.epoch}: {item.message}"), table(limits), *map(plain, item.objections))


def difference(after: Policy, before: Policy | None, *, message: str, objections: Sequence[object]) -> dict[str, Any]:
    """Every limit that is another under ``after`` than under ``before``, and what gates say."""
    rows = _changes(after, before)
    changes = [row for row in rows if row["old_limit"] != row["new_limit"] or row["burst"]]
    return {
        "policy": after.epoch,
        "before": before.epoch if before else None,
        "message": message,
        "changes": changes,
        "unchanged": len(rows) - len(changes),
        "objections": [str(one) for one in objections],
    }


def difference_text(document: Mapping[str, Any]) -> Group:
    """The same for people."""
    rows = [dict(row) for row in document["changes"]]
    for row in rows:
        row["change"] = f"{row['change']:+.0%}" if row["change"] is not None else ""
    for name, said in (("model", "*"), ("api_version", "*"), ("change", ""), ("burst", "")):
        if all(row[name] == said for row in rows):
            rows = [{key: value for key, value in row.items() if key != name} for row in rows]
    head = f"policy {document['policy']} after {document['before'] or 'none'}: {document['message']}"
    rest = f"{document['unchanged']} limits stay as they are"
    return Group(plain(head), table(rows), plain(rest), *map(plain, document["objections"]))


def publication(item: Publication | None) -> dict[str, Any]:
    """What became of a policy in each sink."""
    if item is None:
        return {"policy": None, "sinks": []}
    sinks = [
        {
            "sink": sink.sink,
            "in_force": sink.is_there,
            "drift": list(sink.drift),
            "error": str(sink.error) if sink.error else None,
        }
        for sink in item.sinks
    ]
    return {"policy": item.policy.epoch, "expires_at": rfc3339(epoch_ms(item.policy.expires_at)), "sinks": sinks}


def publication_text(document: Mapping[str, Any]) -> Group:
    """The same for people."""
    if document["policy"] is None:
        return Group(plain("there is no policy yet; run `quotaloop run`"))
    lines = [plain(f"policy {document['policy']}, until {document['expires_at']}")]
    for sink in document["sinks"]:
        state = "in force" if sink["in_force"] else sink["error"] or f"{len(sink['drift'])} differences"
        lines.append(plain(f"{sink['sink']}: {state}"))
        lines += [plain(f"  {line}") for line in sink["drift"][:20]]
    return Group(*lines)


def tried(rows: pa.Table) -> dict[str, Any]:
    """A trial beside what was in force and what happened, as ``sql`` gives rows; hours as RFC 3339."""
    names = ["hour", *rows.column_names[1:]]
    values = [
        [rfc3339(row[0]), *row[1:]] for row in zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True)
    ]
    return {"columns": names, "rows": values}


def tried_text(title: str, rows: pa.Table) -> Group:
    """The same for people: a row a tenant, over all hours and models; in force, and then, stand what was denied."""
    amounts = [name for name in rows.column_names if name not in ("hour_ms", "tenant", "model")]
    sums = rows.group_by("tenant").aggregate([(name, "sum") for name in amounts]).sort_by("tenant")
    shown = {"tenant": "tenant", "attempts_sum": "attempts"}
    for unit in ("denied", "denied_tokens"):
        shown |= {f"{unit}_sum": unit.replace("_", " ")}
        shown |= {f"in_force_{unit}_sum": "in force"} if f"in_force_{unit}_sum" in sums.column_names else {}
        shown |= {f"was_{unit}_sum": "then"}
    found = [list(row) for row in zip(*(sums[name].to_pylist() for name in shown), strict=True)]
    return Group(plain(title), grid({"columns": list(shown.values()), "rows": found}))


def why(document: Mapping[str, Any]) -> Group:
    """Why a tenant is limited as it is, in a few lines a limit."""
    head = f"{document['tenant']}: policy {document['policy']}, of release {document['release']}"
    lines: list[Text | Table] = [plain(head)]
    for limit in document["limits"]:
        lines += [plain(line) for line in _story(limit)]
    if document["safe_capacity"]:
        rest = ", ".join(f"{kind} {amount:,}" for kind, amount in document["safe_capacity"].items())
        lines.append(plain(f"without a limit of its own, hence safe capacity: {rest}"))
    return Group(*lines)


def evaluation(item: Evaluation) -> Group:
    """How good limits were, a table a kind; shares are of the demand."""
    parts: list[Text | Table] = []
    for kind, capacity in item.capacity.items():
        parts.append(plain(f"{kind}: {len(item.days)} days, {item.tenants} tenants, capacity {capacity:,} a minute"))
        rows = [
            {
                "way": name,
                "minutes over": found[kind].minutes_over,
                "denied": f"{found[kind].denied_share:.2%}",
                "while free": f"{found[kind].denied_while_free_share:.2%}",
                "within share": f"{found[kind].denied_within_share_share:.2%}",
                "Jain": _rounded(found[kind].jain),
                "change a day": _rounded(found[kind].change),
            }
            for name, found in item.methods.items()
        ]
        parts.append(table(rows))
    return Group(*parts)


def _rounded(number: float | None) -> str:
    return "" if number is None else f"{number:.3f}"


def _story(limit: Mapping[str, Any]) -> list[str]:
    evidence = limit["evidence"]
    per = "at once" if limit["kind"] == "concurrency" else f"in {limit['per_seconds']} s"
    scope = "" if set(limit["scope"].values()) == {"*"} else f" ({limit['scope']})"
    lines = [f"{limit['kind']}{scope}: {limit['limit']:,} {per}, burst {limit['burst']:,}: {evidence.get('bound_by')}"]
    if "quantile_value" in evidence:
        active = evidence.get("active_minutes", evidence.get("active_hours"))
        unit = "minutes" if "active_minutes" in evidence else "hours"
        lines.append(
            f"  {evidence['quantile']:g} of {active:,} active {unit} asked for {evidence['quantile_value']:,} at most"
            f" (refused demand in it); {_wanted(evidence)}"
        )
        lines.append(
            f"  floor {evidence['floor']:,}, cap {evidence['cap']:,}, capacity of all {evidence['capacity']:,},"
            f" weight {evidence['weight']}"
        )
    moment = limit["moment"]
    if moment:
        lines.append(f"  {moment['from']}, {moment['seconds']} s, asked for just that: {_where(moment['offsets'])}")
    if "first_hour" in evidence:
        lines.append(
            f"  from {evidence['hours']} hours, {evidence['first_hour']} to {evidence['last_hour']}, of release"
            f" {evidence['releases'][-1]}: {_spans(limit['raw'])}"
        )
    if "rolled_back_to" in evidence:
        lines.append(f"  a rollback from policy {evidence['rolled_back_from']} to {evidence['rolled_back_to']}")
    changes = [f"policy {row['epoch']}: {_amount(row['limit'])} ({row['bound_by']})" for row in limit["changes"][-5:]]
    return [*lines, f"  {'; '.join(changes)}"]


def _wanted(evidence: Mapping[str, Any]) -> str:
    """How the want comes from the quantile: by the headroom, a greater single request, or Little's law."""
    want, little = evidence["want"], evidence.get("little", 0)
    if want == evidence["greatest_request"] > 1:
        return f"the greatest request took {want:,}, more than that x {evidence['headroom']:g}: {want:,} wanted"
    if little > evidence["quantile_value"]:
        return f"by Little's law {little:,.1f} in flight x {evidence['headroom']:g} = {want:,} wanted"
    return f"x {evidence['headroom']:g} = {want:,} wanted"


def _amount(limit: int | None) -> str:
    return "none" if limit is None else f"{limit:,}"


def _where(offsets: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{row['events']:,} events, {row['topic']}/{row['partition']} offsets {row['first']} to {row['last']}"
        for row in offsets
    )


def _spans(raw: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{span['topic']}/{span['partition']} [{span['start']}, {span['end']})" for span in raw)


def _changes(after: Policy, before: Policy | None) -> list[dict[str, Any]]:
    new, old = _limits(after), _limits(before) if before else {}
    return [_change(new.get(key), old.get(key)) for key in sorted(new.keys() | old.keys())]


def _change(new: Limit | None, old: Limit | None) -> dict[str, Any]:
    one = new or old
    assert one is not None
    return {
        "tenant": one.tenant,
        "kind": one.kind,
        "model": one.scope.model,
        "api_version": one.scope.api_version,
        "old_limit": old.limit if old else None,
        "new_limit": new.limit if new else None,
        "change": new.limit / old.limit - 1 if new and old and old.limit not in (0, new.limit) else None,
        "burst": f"{old.burst} to {new.burst}" if new and old and new.burst != old.burst else "",
        "bound_by": new.evidence.get("bound_by") if new else "left out",
    }


def _limits(policy: Policy) -> dict[tuple[str, str, str, str], Limit]:
    return {(one.tenant, one.kind, one.scope.model, one.scope.api_version): one for one in policy.limits}
