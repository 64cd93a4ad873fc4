"""What would be if: limits as they are written on the command line."""

from __future__ import annotations

import pytest

from quotaloop.errors import UsageError
from quotaloop.quotas.policy import Limit, Scope
from quotaloop.quotas.trial.what_if import what_if
from tests.marts.handmade import limit, policy

NOW = policy(3, limit("acme", "tokens", 100_000, burst=250_000), limit("acme", "requests", 60))


def of(kind: str, *changes: str) -> list[Limit]:
    return [one for one in what_if(NOW, changes).limits if one.kind == kind]


def test_a_limit_of_tokens_is_changed_and_its_burst_with_it() -> None:
    (found,) = of("tokens", "tenant=acme,limit=150000")
    assert (found.limit, found.burst, found.per_seconds) == (150_000, 375_000, 60)
    assert of("requests", "tenant=acme,limit=150000") == [NOW.limits[1]]


def test_all_words_are_obeyed() -> None:
    found = of("requests", "tenant=globex,limit=5, kind=requests,burst=9,per_seconds=1,model=large v2,api_version=v1")
    assert [(one.tenant, one.limit, one.burst, one.per_seconds) for one in found if one.tenant == "globex"] == [
        ("globex", 5, 9, 1)
    ]
    assert found[-1].scope == Scope(model="large v2", api_version="v1")


def test_a_new_limit_has_one_period_of_burst_and_0_suspends() -> None:
    found = what_if(NOW, ["tenant=b,limit=7,kind=compute", "tenant=acme,limit=0,kind=requests"]).limits
    assert [(one.limit, one.burst, one.suspended) for one in found if one.tenant == "b"] == [(7, 7, False)]
    assert [(one.limit, one.suspended) for one in found if one.kind == "requests"] == [(0, True)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme",
        "tenant=acme",
        "limit=5",
        "tenant=acme,limit=-5",
        "tenant=acme,limit=5.5",
        "tenant=acme,limit=1e9",
        "tenant=acme,limit=NaN",
        "tenant=acme,limit=٥",
        "tenant=acme,limit=9007199254740992",
        "tenant=acme,limit=5,limit=6",
        "tenant=acme,limit=5,kind=money",
        "tenant=acme,limit=5,colour=red",
        "tenant=../x,limit=5",
        "tenant=acme,limit=5,burst=0",
        "tenant=acme,limit=5,per_seconds=0",
    ],
)
def test_what_cannot_be_read_or_be_a_limit_is_a_wrong_call(text: str) -> None:
    with pytest.raises(UsageError, match="--what-if"):
        what_if(NOW, [text])
