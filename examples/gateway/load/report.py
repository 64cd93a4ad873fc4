"""What a load came to, by tenant and protocol: counts that add up to the plan, and latencies of what was answered."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table

from examples.gateway.clients.answer import Answer, Outcome
from examples.gateway.load.run import Attempt
from quotaloop.latency import rank
from quotaloop.terminal.output import plain

_OUTCOMES: dict[str, Outcome] = {"ok": "ok", "refused": "refused", "errors": "error", "cancelled": "cancelled"}
_COLUMNS = {
    "tenant": "tenant",
    "protocol": "protocol",
    "attempts": "calls",
    "ok": "ok",
    "refused": "refused",
    "errors": "errors",
    "cancelled": "left",
    "tokens": "tokens",
    "p50_ms": "p50",
    "p99_ms": "p99",
    "sent_p99_ms": "sent",
}


def report(
    attempts: Sequence[Attempt],
    signalling: Mapping[str, Sequence[Answer]] = {},
    waits_s: Sequence[float] = (),
) -> dict[str, Any]:
    """One JSON document: ``calls`` has a row for each tenant and protocol, whose ``attempts`` sum up to ``planned``.

    ``p50_ms`` and ``p99_ms`` count from the planned time, ``sent_`` from the sending; both, as ``ttft_``, are of calls
    that were ok. ``unsent`` of the attempts did not reach the gateway. ``signalling`` are offers of WebRTC peers, by
    tenant: attempts at the gateway that no call planned. ``delays`` says what held calls back: ``most_open``, all
    connections of one exchange at a time being lent, this machine.
    """
    rows: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        rows[attempt.call.tenant, attempt.call.protocol].append(attempt)
    answers = [attempt.answer for attempt in attempts]
    return {
        "planned": len(attempts),
        "calls": [_row(tenant, protocol, rows[tenant, protocol]) for tenant, protocol in sorted(rows)],
        "signalling": [
            {"tenant": tenant, **_counts(signalling[tenant])} for tenant in sorted(signalling) if signalling[tenant]
        ],
        "delays": {
            "most_open": _delays(attempt.held_s * 1000 for attempt in attempts),
            "connection": _delays(wait_s * 1000 for wait_s in waits_s),
            "late_p99_ms": _quantile([attempt.late_ms for attempt in attempts], 99),
        },
        "reasons": dict(Counter(map(_reason, (one for one in answers if one.outcome != "ok"))).most_common()),
    }


def shown(document: Mapping[str, Any]) -> Group:
    """The same for people; latencies in ms."""
    parts: list[Any] = [_grid(document["calls"], _COLUMNS)]
    if document["signalling"]:
        parts += [plain("signalling of WebRTC peers, beside the calls:")]
        parts += [_grid(document["signalling"], {name: name for name in ("tenant", "attempts", *_OUTCOMES)})]
    parts += [plain(f"{count:,} x {reason}") for reason, count in document["reasons"].items()]
    parts += [plain(line) for line in _told(document["delays"])]
    return Group(*parts)


def _grid(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> Table:
    """Narrower than the library's tables: ten columns in 80 characters."""
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name, head in columns.items():
        drawn.add_column(head, no_wrap=True, justify="left" if name in ("tenant", "protocol") else "right")
    for row in rows:
        values = (row[name] for name in columns)
        drawn.add_row(*(plain(round(value) if isinstance(value, float) else value) for value in values))
    return drawn


def _row(tenant: str, protocol: str, attempts: Sequence[Attempt]) -> dict[str, Any]:
    done = [attempt for attempt in attempts if attempt.answer.outcome == "ok"]
    from_plan = [attempt.latency_ms for attempt in done]
    from_sending = [attempt.answer.duration_ms for attempt in done]
    ttft = [attempt.answer.ttft_ms for attempt in done if attempt.answer.ttft_ms is not None]
    return {
        "tenant": tenant,
        "protocol": protocol,
        **_counts([attempt.answer for attempt in attempts]),
        "p50_ms": _quantile(from_plan, 50),
        "p99_ms": _quantile(from_plan, 99),
        "sent_p50_ms": _quantile(from_sending, 50),
        "sent_p99_ms": _quantile(from_sending, 99),
        "ttft_p50_ms": _quantile(ttft, 50),
        "ttft_p99_ms": _quantile(ttft, 99),
    }


def _counts(answers: Sequence[Answer]) -> dict[str, int]:
    outcomes = Counter(answer.outcome for answer in answers)
    return {
        "attempts": len(answers),
        **{name: outcomes[outcome] for name, outcome in _OUTCOMES.items()},
        "unsent": sum(not answer.is_sent for answer in answers),
        "tokens": sum(answer.tokens for answer in answers),
    }


def _quantile(values_ms: Sequence[float], percent: int) -> float | None:
    """The value of rank ceil(q n); None of nothing."""
    return sorted(values_ms)[rank(len(values_ms), percent, 100) - 1] if values_ms else None


def _delays(waits_ms: Iterable[float]) -> dict[str, Any]:
    waited = [wait for wait in waits_ms if wait > 0]
    return {"calls": len(waited), "most_ms": max(waited, default=0.0)}


def _reason(answer: Answer) -> str:
    if answer.outcome == "cancelled" and answer.reason is None:
        return "cancelled, as planned"
    said = answer.reason or (answer.problem or {}).get("title") or "no reason given"
    return f"{answer.outcome} {answer.status or '-'} {said}"


def _told(delays: Mapping[str, Any]) -> list[str]:
    """What held calls back; nothing where nothing did."""
    lines = [
        f"{found['calls']:,} calls waited for {what}, at most {found['most_ms']:,.0f} ms"
        for what, found in (
            ("others to end, as many as may be open were", delays["most_open"]),
            ("a connection, all of that kind were lent", delays["connection"]),
        )
        if found["calls"]
    ]
    if (late_ms := delays["late_p99_ms"]) is not None:
        lines.append(f"99 % of calls were begun within {late_ms:,.1f} ms of their time")
    return [*lines, "p50, p99: ms of calls that were ok, from the planned time; sent: p99 from the sending"]
