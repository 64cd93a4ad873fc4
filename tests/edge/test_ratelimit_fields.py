"""The two fields of rate limits: letter for letter, in the syntax of RFC 9651, whatever a policy names its models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from quotaloop.edge.ratelimit_fields import ratelimit_fields, seconds
from quotaloop.limiter import Answer, Limiter, MemoryStore
from quotaloop.limiter.limits import Bound
from quotaloop.limiter.rule import Decision
from quotaloop.limiter.rules import ALGORITHMS, Algorithm, rule_of
from quotaloop.quotas.policy import Kind, Limit, Rate, Scope
from tests.sinks.pushes import limit, policy

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z, in ms: a whole minute
LARGE = Scope(model="large", api_version="*")
COSTS: dict[Kind, int] = {"requests": 1, "tokens": 100, "concurrency": 1, "compute": 2_000}
LIMITS = (
    limit("acme", "requests", 60),
    limit("acme", "requests", 5, scope=LARGE),
    limit("acme", "tokens", 6_000, burst=250),
    limit("acme", "concurrency", 4),
    limit("acme", "compute", 9_000_000, per_seconds=3_600),
)


def limiter(*limits: Limit, **chosen: Any) -> Limiter:
    """One that goes by these limits."""
    safe: dict[Kind, Rate] = {kind: Rate(limit=8, per_seconds=60, burst=8) for kind in COSTS}
    made = Limiter(MemoryStore(hold_ms=600_000), safe_capacity=safe, **chosen)
    made.load(policy(1, *limits))
    return made


def asked(made: Limiter, number: int = 0, *, now_ms: int = NOON, model: str = "large", **costs: int) -> Answer:
    """What becomes of a request of acme."""
    named: dict[Any, int] = COSTS | costs
    return made.reserve("acme", f"request-{number}", named, now_ms=now_ms, model=model, guessed=True)


def fields(answer: Answer) -> dict[str, str]:
    """By name, as a client reads them."""
    return {name.decode("ascii"): value.decode("ascii") for name, value in ratelimit_fields(answer)}


# RFC 9651: a list of strings with parameters that are integers (15 digits at most) or strings.
STRING = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
PARAMETER = rf"; *[a-z*][a-z0-9_.*-]*=(?:-?[0-9]{{1,15}}|{STRING})"
ITEM = re.compile(rf"({STRING})((?:{PARAMETER})*)(?:[ \t]*,[ \t]*|\Z)")


def items(text: str) -> list[tuple[str, dict[str, int | str]]]:
    """The list that a field is; fails for what is none."""
    found, at = [], 0
    while at < len(text):
        match = ITEM.match(text, at)
        assert match is not None, text[at:]
        pairs = (part.lstrip("; ").split("=", 1) for part in re.findall(PARAMETER, match[2]))
        found.append((unquoted(match[1]), {name: unquoted(value) for name, value in pairs}))
        at = match.end()
    return found


def unquoted(value: str) -> Any:
    """What a string or an integer says."""
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else int(value)


def test_all_limits_of_a_request_are_named_with_what_is_left_of_them() -> None:
    assert fields(asked(limiter(*LIMITS))) == {
        "ratelimit-policy": (
            '"compute";q=9000000;qu="microseconds";w=3600, "concurrency";q=4;qu="concurrent-requests", '
            '"requests";q=60;qu="requests";w=60, "tokens";q=6000;qu="tokens";w=60, '
            '"requests:large:*";q=5;qu="requests";w=60'
        ),
        "ratelimit": '"compute";r=8998000, "concurrency";r=3, "requests";r=59, "tokens";r=150, "requests:large:*";r=4',
    }


def test_a_limit_that_says_no_tells_in_how_many_seconds_it_might_say_yes() -> None:
    made = limiter(*LIMITS)
    assert asked(made, 1).allowed
    assert asked(made, 2).allowed
    # 50 of 250 tokens are left and 100 come in a second: the other 50 in half a second, hence 1 s.
    refused = asked(made, 3)
    assert not refused.allowed
    assert dict(items(fields(refused)["ratelimit"])) == {
        "compute": {"r": 8_996_000},
        "concurrency": {"r": 2},
        "requests": {"r": 58},
        "requests:large:*": {"r": 3},
        "tokens": {"r": 50, "t": 1},
    }


def test_slots_are_waited_for_until_the_first_lease_ends() -> None:
    made = limiter(limit("acme", "concurrency", 1), limit("acme", "requests", 60))
    assert asked(made, 1, tokens=0, compute=0).allowed
    refused = asked(made, 2, now_ms=NOON + 1, tokens=0, compute=0)
    assert dict(items(fields(refused)["ratelimit"]))["concurrency"] == {"r": 0, "t": 600}


def test_a_suspended_limit_has_a_quota_of_nothing() -> None:
    refused = asked(limiter(limit("acme", "tokens", 0), limit("acme", "requests", 60)))
    assert fields(refused) == {"ratelimit-policy": '"tokens";q=0;qu="tokens"', "ratelimit": '"tokens";r=0;t=600'}


def test_where_no_limit_was_asked_no_field_says_so() -> None:
    assert ratelimit_fields(Answer(True, None, 0, (), "open", 1)) == []


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_has_its_window_in_seconds(algorithm: Algorithm) -> None:
    bound = Bound("requests:*:*:60", "requests", rule_of(algorithm, 10, 60, 10), "requests")
    answer = Answer(True, None, 0, (("requests", Decision(True, 9, 0)),), "policy", 1, (bound,))
    assert fields(answer) == {
        "ratelimit-policy": '"requests";q=10;qu="requests";w=60',
        "ratelimit": '"requests";r=9',
    }


def test_integers_are_not_above_those_of_rfc_9651() -> None:
    most = limit("acme", "tokens", 10**15, per_seconds=1)
    name, many = Bound("k", "tokens", rule_of("fixed_window", 9_007_199_254_740, 1, 1), "tokens"), 10**15
    answer = Answer(True, None, 0, (("tokens", Decision(True, many, 0)),), "policy", 1, (name,))
    assert items(fields(answer)["ratelimit"]) == [("tokens", {"r": 999_999_999_999_999})]
    with pytest.raises(ValueError, match="cannot be counted exactly"):  # so no quota is
        limiter(most)


@pytest.mark.parametrize(
    ("model", "said", "name"),
    [
        ("large", '"requests:large:*"', "requests:large:*"),
        ('a"b', r'"requests:a\"b:*"', 'requests:a"b:*'),
        ("a\\b", r'"requests:a\\b:*"', "requests:a\\b:*"),
        ("a;q=1, b", '"requests:a;q=1, b:*"', "requests:a;q=1, b:*"),
        ("50%d%", '"requests:50%d%:*"', "requests:50%d%:*"),
        ("f\u00fcr", r'"requests:f\\xfcr:*"', r"requests:f\xfcr:*"),
        ("\u6a21\u578b", r'"requests:\\u6a21\\u578b:*"', r"requests:\u6a21\u578b:*"),
        ("\U0001f600", r'"requests:\\U0001f600:*"', r"requests:\U0001f600:*"),
        ("a\r\nset-cookie: b", r'"requests:a\\r\\nset-cookie: b:*"', r"requests:a\r\nset-cookie: b:*"),
        ("\0\t\x1f\x7f", r'"requests:\\x00\\t\\x1f\\x7f:*"', r"requests:\x00\t\x1f\x7f:*"),
    ],
)
def test_whatever_a_policy_names_a_model_the_field_is_one_line_of_ascii(model: str, said: str, name: str) -> None:
    scoped = limit("acme", "requests", 5, scope=Scope(model=model, api_version="*"))
    found = fields(asked(limiter(scoped), model=model, tokens=0, compute=0))
    assert said in found["ratelimit-policy"]
    for field in found.values():
        assert items(field)[0][0] == name


def names(found: Sequence[tuple[str, Any]]) -> list[str]:
    """Of the items."""
    return [name for name, _ in found]


def test_each_limit_that_says_what_is_left_is_one_of_the_policy_in_the_same_order() -> None:
    made = limiter(*LIMITS, limit("acme", "tokens", 50, scope=Scope(model="*", api_version="v1")))
    for number in range(4):
        found = fields(asked(made, number))
        policies, left = items(found["ratelimit-policy"]), items(found["ratelimit"])
        assert names(policies) == names(left)
        assert len(set(names(left))) == len(left)
        assert all(parameters.keys() <= {"q", "qu", "w"} and "q" in parameters for _, parameters in policies)
        assert all(parameters.keys() <= {"r", "t"} and "r" in parameters for _, parameters in left)


def test_a_limit_whose_numbers_have_changed_is_told_anew() -> None:
    made = limiter(limit("acme", "requests", 60))
    assert '"requests";q=60;' in fields(asked(made))["ratelimit-policy"]
    made.load(policy(2, limit("acme", "requests", 7)))
    assert '"requests";q=7;' in fields(asked(made, 1))["ratelimit-policy"]


@pytest.mark.parametrize(("ms", "whole"), [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (600_000, 600)])
def test_a_wait_is_told_in_whole_seconds_and_never_too_short(ms: int, whole: int) -> None:
    assert seconds(ms) == whole
