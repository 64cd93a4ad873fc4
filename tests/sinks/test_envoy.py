"""The sink for Envoy's rate limit service, without the service: what is written, refused, delivered and compared."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from quotaloop import faults
from quotaloop.errors import CheckRefused, ServiceUnreachable, UsageError
from quotaloop.quotas.policy import KINDS, Policy, Rate, Scope, render
from quotaloop.settings import Settings
from quotaloop.sinks.configured import sinks
from quotaloop.sinks.envoy.document import printed
from quotaloop.sinks.envoy.rules import Naming, rules
from quotaloop.sinks.envoy.sink import EnvoySink
from quotaloop.storage.local import LocalStore
from tests.sinks.envoy_sinks import DOMAIN
from tests.sinks.envoy_sinks import sink as made
from tests.sinks.pushes import GOOD, REFUSED, limit, policy

LARGE = Scope(model="large", api_version="*")
FILE = "current/ratelimit/config/quotaloop.yaml"
PUBLISHER = """
import sys
from pathlib import Path
from quotaloop.quotas.policy import parse
from tests.sinks.envoy_sinks import sink
sink(Path(sys.argv[1])).publish(parse(sys.stdin.buffer.read()))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "envoy"


@pytest.fixture
def sink(folder: Path) -> EnvoySink:
    return made(folder)


def lies(folder: Path) -> Any:
    return json.loads((folder / FILE).read_text(encoding="utf-8"))


def below(folder: Path, kind: str) -> Any:
    return next(one for one in lies(folder)["descriptors"] if one["value"] == kind)


def generations(folder: Path) -> list[str]:
    return sorted(path.name[:10] for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def lines(sink: EnvoySink, pushed: Policy, **naming: Any) -> list[str]:
    """What the service would print, without the mark."""
    named = Naming(DOMAIN, **naming)
    found = printed(named, pushed.epoch, rules(sink.configuration, named, pushed))
    return sorted(line for line in found if "quotaloop_policy" not in line)


def test_a_limit_is_a_rule_below_its_kind_and_safe_capacity_is_the_rule_of_any_tenant(
    sink: EnvoySink, folder: Path
) -> None:
    sink.publish(policy(7, limit("acme", "tokens", 9_000)))
    found = lies(folder)
    assert found["domain"] == DOMAIN
    assert (
        found["descriptors"][2]
        == {
            "key": "kind",
            "value": "tokens",
            "descriptors": [
                {
                    "key": "tenant",
                    "rate_limit": {"unit": "minute", "requests_per_unit": 1, "name": "safe_capacity of tokens"},
                },
                {"key": "tenant", "value": "acme", "rate_limit": {"unit": "minute", "requests_per_unit": 9_000}},
            ],
        }
        or found["descriptors"][2]["value"] != "tokens"
    )
    assert lines(sink, policy(7, limit("acme", "tokens", 9_000))) == [
        "gateway.kind_compute.tenant: unit=MINUTE requests_per_unit=1, shadow_mode: false, quota_mode: false",
        "gateway.kind_requests.tenant: unit=MINUTE requests_per_unit=1, shadow_mode: false, quota_mode: false",
        "gateway.kind_tokens.tenant: unit=MINUTE requests_per_unit=1, shadow_mode: false, quota_mode: false",
        "gateway.kind_tokens.tenant_acme: unit=MINUTE requests_per_unit=9000, shadow_mode: false, quota_mode: false",
    ]


def test_a_limit_for_a_model_and_a_version_lies_below_them_and_takes_the_place_of_safe_capacity(
    sink: EnvoySink, folder: Path
) -> None:
    sink.publish(policy(7, limit("acme", "tokens", 90, scope=Scope(model="large", api_version="v1"))))
    assert below(folder, "tokens")["descriptors"][1] == {
        "key": "model",
        "value": "large",
        "descriptors": [
            {
                "key": "api_version",
                "value": "v1",
                "descriptors": [
                    {
                        "key": "tenant",
                        "value": "acme",
                        "rate_limit": {
                            "unit": "minute",
                            "requests_per_unit": 90,
                            "replaces": [{"name": "safe_capacity of tokens"}],
                        },
                    }
                ],
            }
        ],
    }


def test_kinds_that_the_service_does_not_count_are_left_out(folder: Path) -> None:
    of_requests = made(folder, target={"algorithms": {"requests": "fixed_window"}})
    pushed = policy(7, limit("acme", "concurrency", 3), limit("acme", "tokens", 2**40), limit("acme", "requests", 5))
    of_requests.check(pushed)
    assert [line.split(":")[0] for line in lines(of_requests, pushed)] == [
        "gateway.kind_requests.tenant",
        "gateway.kind_requests.tenant_acme",
    ]


@pytest.mark.parametrize(
    ("per_seconds", "unit"),
    [
        (1, "SECOND"),
        (60, "MINUTE"),
        (3_600, "HOUR"),
        (86_400, "DAY"),
        (604_800, "WEEK"),
        (2_592_000, "MONTH"),
        (31_536_000, "YEAR"),
    ],
)
def test_periods_are_those_of_the_service(sink: EnvoySink, per_seconds: int, unit: str) -> None:
    found = lines(sink, policy(7, limit("acme", "requests", 5, per_seconds=per_seconds)))
    assert f"gateway.kind_requests.tenant_acme: unit={unit} requests_per_unit=5" in found[2]


def test_a_suspended_tenant_has_a_rule_that_lets_nothing_through(sink: EnvoySink) -> None:
    assert "tenant_acme: unit=MINUTE requests_per_unit=0," in lines(sink, policy(7, limit("acme", "requests", 0)))[2]


def test_in_shadow_every_rule_only_counts(folder: Path) -> None:
    made(folder, shadow=True).publish(GOOD)
    text = (folder / FILE).read_text(encoding="utf-8")
    assert text.count('"shadow_mode": true') == text.count('"requests_per_unit"') == 6
    assert all("shadow_mode: true" in line for line in lines(made(folder), GOOD, shadow=True))


def test_names_go_through_the_identity_map_and_the_configured_keys(folder: Path) -> None:
    keys: dict[str, Any] = {"kind_key": "what", "tenant_key": "team", "model_key": "engine", "version_key": "api"}
    pushed = policy(7, limit("acme", "tokens", 9, scope=Scope(model="large é 😀", api_version="v1")))
    sink = made(folder, tenants={"acme": "team-7"}, **keys)
    sink.publish(pushed)
    assert "gateway.what_tokens.engine_large é 😀.api_v1.team_team-7" in [
        line.split(":")[0] for line in lines(sink, pushed, **keys)
    ]
    assert "large é 😀" in (folder / FILE).read_text(encoding="utf-8")  # YAML has no escape of two halves


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (limit("acme", "compute", 2**32), r"acme, compute .*4294967296 is above 4294967295"),
        (limit("acme", "tokens", 50, per_seconds=120), r"acme, tokens .*50 in 120 s: its periods are 1, 60"),
        (limit("acme", "tokens", 7, scope=Scope(model="gpt-*", api_version="*")), r"model 'gpt-\*' is a prefix"),
        (limit("acme", "tokens", 7, scope=Scope(model="a\nb", api_version="*")), r"model 'a\\nb' is not printable"),
        (limit("wild", "tokens", 7), r"wild, tokens .*tenant 'team-\*' is a prefix"),
    ],
)
def test_what_the_service_cannot_hold_is_refused_by_tenant_kind_number_and_reason(
    folder: Path, refused: Any, reason: str
) -> None:
    sink = made(folder, tenants={"wild": "team-*"})
    sink.publish(GOOD)
    for act in (sink.check, sink.publish):
        with pytest.raises(CheckRefused, match=f"sink edge cannot hold {reason}" if reason[0] in "aw" else reason):
            act(policy(8, limit("acme", "requests", 5), refused))
    assert sink.drift(GOOD) == []


def test_the_greatest_number_that_the_service_takes_is_held(sink: EnvoySink) -> None:
    sink.check(policy(7, limit("acme", "compute", 2**32 - 1)))


def test_a_safe_capacity_that_cannot_be_held_is_refused(sink: EnvoySink) -> None:
    rates = {kind: Rate(limit=2**32, per_seconds=60, burst=1) for kind in KINDS}
    with pytest.raises(CheckRefused, match="sink edge cannot hold safe_capacity of requests: 4294967296 is above"):
        sink.check(replace(GOOD, safe_capacity=rates))


def test_tenants_that_would_be_counted_together_are_refused(folder: Path) -> None:
    sink = made(folder, tenants={"acme": "globex"})
    with pytest.raises(CheckRefused, match=r"globex, requests .*counted together with that of acme"):
        sink.check(policy(7, limit("acme", "requests", 50), limit("globex", "requests", 20)))


def test_scopes_that_are_spelled_alike_once_they_are_joined_are_refused(sink: EnvoySink) -> None:
    first = limit("b", "requests", 5, scope=Scope(model="a_tenant_a", api_version="*"))
    second = limit("a_tenant_b", "requests", 6, scope=Scope(model="a", api_version="*"))
    with pytest.raises(CheckRefused, match=r"counted together with that of a_tenant_b \(model a,"):
        sink.check(policy(7, first, second))


def test_no_tenant_is_spelled_like_the_limit_of_another_for_a_model(sink: EnvoySink) -> None:
    sink.check(policy(7, limit("acme", "requests", 5, scope=LARGE), limit("acme_model_large", "requests", 6)))


def test_lines_that_collide_where_the_service_prints_them_are_counted_and_told_apart_by_the_mark(
    sink: EnvoySink,
) -> None:
    one, other = Scope(model="a", api_version="*"), Scope(model="a.tenant_b", api_version="*")
    pushed = policy(7, limit("b.tenant_c", "requests", 5, scope=one), limit("c", "requests", 6, scope=other))
    swapped = policy(7, limit("b.tenant_c", "requests", 6, scope=one), limit("c", "requests", 5, scope=other))
    assert lines(sink, pushed) == lines(sink, swapped)
    named = Naming(DOMAIN)
    loaded = [printed(named, 7, rules(sink.configuration, named, each)) for each in (pushed, swapped)]
    assert loaded[0].total() == 6
    assert loaded[0] != loaded[1]


def test_what_is_published_is_in_force_and_read_back(sink: EnvoySink, folder: Path) -> None:
    assert (sink.epoch(), sink.drift(GOOD)) == (None, [f"{folder}/current is missing"])
    sink.publish(GOOD)
    assert (sink.epoch(), sink.drift(GOOD)) == (7, [])
    newer = replace(GOOD, epoch=8)
    assert sink.drift(newer) == [f"{folder}/current holds policy 7"]
    sink.publish(newer)
    assert (sink.epoch(), sink.drift(newer)) == (8, [])


@pytest.mark.parametrize("refused", REFUSED)
def test_a_policy_that_is_not_valid_or_older_leaves_the_last_good_one(sink: EnvoySink, refused: Policy) -> None:
    sink.publish(GOOD)
    with pytest.raises(CheckRefused, match="refused whole"):
        sink.publish(refused)
    assert sink.drift(GOOD) == []


def test_publishing_twice_is_the_same_as_once(sink: EnvoySink, folder: Path) -> None:
    sink.publish(GOOD)
    before = (folder / "current").lstat().st_ino, (folder / "current").readlink()
    sink.publish(GOOD)
    assert ((folder / "current").lstat().st_ino, (folder / "current").readlink()) == before


def test_the_generation_before_stays_and_older_ones_go(sink: EnvoySink, folder: Path) -> None:
    for epoch in (7, 8, 9):
        sink.publish(replace(GOOD, epoch=epoch))
    assert generations(folder) == ["0000000008", "0000000009"]


def change(folder: Path) -> None:
    file = folder / FILE
    file.write_bytes(file.read_bytes().replace(b"9000", b"9001"))


def truncate(folder: Path) -> None:
    os.truncate(folder / FILE, 40)


def remove(folder: Path) -> None:
    (folder / FILE).unlink()


def add(folder: Path) -> None:
    (folder / FILE).with_name("other.yaml").write_text('{"domain": "other"}')


def take_generation_away(folder: Path) -> None:
    shutil.rmtree(folder / (folder / "current").readlink())


@pytest.mark.parametrize("harm", [change, truncate, remove, add, take_generation_away])
def test_what_somebody_did_to_the_files_is_drift_until_it_is_published_again(
    sink: EnvoySink, folder: Path, harm: Any
) -> None:
    sink.publish(GOOD)
    harm(folder)
    assert sink.drift(GOOD) == [f"{folder}/current is not policy 7 as published, somebody changed it"]
    sink.publish(GOOD)
    assert sink.drift(GOOD) == []


def test_an_older_generation_put_back_is_drift_until_it_is_published_again(sink: EnvoySink, folder: Path) -> None:
    newer = replace(GOOD, epoch=8)
    sink.publish(GOOD)
    older = (folder / "current").readlink()
    sink.publish(newer)
    (folder / "current").unlink()
    (folder / "current").symlink_to(older)
    assert sink.drift(newer) == [f"{folder}/current holds policy 7", "a push of policy 8 was cut off"]
    sink.publish(newer)
    assert sink.drift(newer) == []


@pytest.mark.parametrize("is_link", [False, True])
def test_a_root_that_is_not_the_sinks_own_is_left_alone(sink: EnvoySink, folder: Path, is_link: bool) -> None:
    theirs = folder / "theirs" / "ratelimit/config/limits.yaml" if is_link else folder / "current/limits.yaml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("{}")
    if is_link:
        (folder / "current").symlink_to("theirs")
    assert sink.drift(GOOD) == [f"{folder}/current is not a link that this sink made: give it a folder of its own"]
    with pytest.raises(CheckRefused, match="give it a folder of its own"):
        sink.publish(GOOD)
    assert theirs.read_text() == "{}"


def killed_at(point: str, folder: Path, pushed: Policy) -> None:
    environment = {**os.environ, "QUOTALOOP_KILL_AT": point, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PUBLISHER, str(folder)]
    ended = subprocess.run(command, input=render(pushed), env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize("point", faults.ENVOY_SINK_POINTS)
def test_a_push_that_is_killed_leaves_the_old_rules_or_the_new_and_the_next_push_ends_it(
    sink: EnvoySink, folder: Path, point: str
) -> None:
    newer = policy(8, limit("acme", "requests", 60))
    sink.publish(GOOD)
    killed_at(point, folder, newer)
    assert sink.epoch() == 8
    if point == "envoy_sink:linked":
        assert sink.drift(newer) == []
    else:
        assert sink.drift(GOOD) == ["a push of policy 8 was cut off"]
        assert sink.drift(newer) == [f"{folder}/current holds policy 7", "a push of policy 8 was cut off"]
        with pytest.raises(CheckRefused, match=r"refused whole: .* holds policy 8, push a newer one"):
            sink.publish(GOOD)
    for ending in (newer, replace(GOOD, epoch=9)):
        sink.publish(ending)
        assert sink.drift(ending) == []
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("point", ["envoy_sink:begun", "envoy_sink:link_made"])
def test_the_first_push_may_be_killed_too(sink: EnvoySink, folder: Path, point: str) -> None:
    killed_at(point, folder, GOOD)
    assert (sink.epoch(), sink.drift(GOOD)) == (7, [f"{folder}/current is missing"])
    sink.publish(GOOD)
    assert sink.drift(GOOD) == []


def test_whoever_reads_while_policies_are_published_finds_one_of_them_whole(sink: EnvoySink, folder: Path) -> None:
    sink.publish(GOOD)
    seen, ended = set(), threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.add(lies(folder)["descriptors"][0]["value"].split("-")[0])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for epoch in range(8, 60):
            sink.publish(replace(GOOD, epoch=epoch))
    finally:
        ended.set()
        reader.join()
    assert len(seen) > 1


def test_a_folder_that_cannot_be_written_is_a_place_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceUnreachable, match=r"sink edge, .*file/envoy: "):
        made(tmp_path / "file" / "envoy").publish(GOOD)


def test_rules_are_delivered_though_nobody_answers_and_drift_says_that_nobody_does(folder: Path) -> None:
    sink = made(folder, url="http://127.0.0.1:1", patience=0)
    sink.publish(GOOD)
    assert made(folder).drift(GOOD) == []
    with pytest.raises(ServiceUnreachable, match=r"rate limit service at http://127\.0\.0\.1:1 does not answer"):
        sink.drift(GOOD)


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("domain", None, "domain is a name"),
        ("subdirectory", "", "subdirectory is a plain name"),
        ("subdirectory", "a/b", "subdirectory is a plain name"),
        ("subdirectory", ".hidden", "subdirectory is a plain name"),
        ("shadow", "yes", "shadow is true or false"),
        ("url", None, r"url is .* \[\] if only the files are to be compared"),
        ("url", ["localhost:6070"], "url is that of the service's debug port"),
        ("url", "http://user:secret@localhost:6070", "url is that of the service's debug port"),
        ("tenant_key", "kind", "keys .* could be taken for one another"),
        ("model_key", "tenant_model", "keys tenant_model and tenant could be taken for one another"),
        ("version_key", "", "version_key is a name"),
    ],
)
def test_options_that_cannot_be_used_are_refused(folder: Path, option: str, value: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=f"sink edge: {reason}") as refused:
        made(folder, **{option: value})
    assert "secret" not in str(refused.value)


def test_the_folder_has_to_be_said(tmp_path: Path) -> None:
    table = {"type": "envoy", "domain": DOMAIN, "url": []}
    with pytest.raises(UsageError, match="sink edge: folder is a name, not None"):
        sinks(Settings(sinks=json.dumps({"edge": table})), LocalStore(tmp_path / "store"))


def test_the_settings_make_one(tmp_path: Path) -> None:
    table = {
        "type": "envoy",
        "folder": str(tmp_path),
        "domain": DOMAIN,
        "url": [],
        "algorithms": {"tokens": "fixed_window"},
    }
    found = sinks(Settings(sinks=json.dumps({"edge": table})), LocalStore(tmp_path / "store"))
    assert next(type(one) for one in found) is EnvoySink
    for kind, word in (("tokens", "gcra"), ("concurrency", "concurrency")):
        wrong = json.dumps({"edge": {**table, "algorithms": {kind: word}}})
        with pytest.raises(UsageError, match=kind):
            sinks(Settings(sinks=wrong), LocalStore(tmp_path / "store"))
