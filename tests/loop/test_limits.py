"""What a release does to limits where it should not move them."""

from __future__ import annotations

from pathlib import Path

from tests.loop.stores import HOUR, MINUTE, Loop, event


def test_one_line_of_a_wrong_clock_does_not_take_over_the_limits(loop: Loop) -> None:
    loop.land("t", *(event(f"e{number}", number * MINUTE // 10) for number in range(200)))
    before = loop.run().policy
    assert before is not None
    loop.land("u", event("far", 70 * 365 * 24 * HOUR, tenant="b"))
    after = loop.run().policy
    assert after is not None
    assert (after.valid_from, after.expires_at) == (before.valid_from, before.expires_at)
    assert [(limit.tenant, limit.kind, limit.limit) for limit in after.limits] == [
        (limit.tenant, limit.kind, limit.limit) for limit in before.limits
    ]


def test_a_release_whose_tenants_are_too_many_for_the_capacity_leaves_the_limits_and_is_done(
    engines: None,  # noqa: ARG001
    tmp_path: Path,
) -> None:
    loop = Loop(tmp_path / "store", capacity_concurrency=1)
    loop.land("t", event("e", 0), event("f", 0, tenant="b"))
    done = loop.run()
    assert (done.released, done.policy) == (True, None)
    assert done.derivation is not None
    assert done.derivation.message.startswith("limits unchanged: capacity_concurrency=1 is below one unit")
