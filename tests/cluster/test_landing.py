"""Records of a real broker into the raw zone: each once, byte for byte, and nothing is skipped silently."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from quotaloop import faults
from quotaloop.errors import CheckRefused, ServiceUnreachable, UsageError
from quotaloop.raw import closing
from quotaloop.raw.lost import losses
from quotaloop.raw.ranges import Range
from tests.cluster.raw_zone import RawZone
from tests.cluster.topics import Topic, new_topic, numbered
from tests.servers import Cluster

pytestmark = pytest.mark.cluster

NOW = 1_772_409_600_000
HOUR = 3_600_000
GRACE = 70 * 60_000
VALUES = [
    b"plain",
    b"",
    None,
    b"two\nlines",
    b"carriage\rreturn",
    b"a\ttab",
    b"\x00\x01\xff\xfe",
    "\u00e9\u2028\U0001f600".encode(),
    b"\n",
    b"x" * 100_000,
    None,
    b'{"event_id": "1"}',
]


def at_once(zones: Sequence[RawZone], land: Callable[[RawZone], object]) -> list[Exception]:
    """Land in threads that begin together; what they raised."""
    start, errors = threading.Barrier(len(zones)), []

    def work(mine: RawZone) -> None:
        start.wait()
        try:
            land(mine)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in zones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_every_value_comes_back_byte_for_byte_with_its_offset_and_time(zone: RawZone, topic: Topic) -> None:
    topic.produce_all((0, NOW + number, value) for number, value in enumerate(VALUES))
    zone.land(topic)
    found = [(record.offset, record.kafka_time_ms, record.value) for record in zone.records(topic.name)]
    assert found == [(number, NOW + number, value) for number, value in enumerate(VALUES)]


def test_a_second_landing_lands_what_came_since_and_nothing_twice(zone: RawZone, topic: Topic) -> None:
    topic.produce(*numbered(0, 5))
    assert [str(item.range) for item in zone.land(topic).copied] == [f"{topic.name}/0/0-5"]
    assert zone.land(topic).copied == []
    topic.produce(*numbered(5, 7))
    zone.land(topic)
    assert zone.ranges(topic.name) == [(0, 0, 5), (0, 5, 7)]
    assert zone.values(topic.name) == numbered(0, 7)


def test_partitions_land_in_ranges_of_about_the_size_asked_for(tmp_path: Path, brokers: str) -> None:
    zone, topic = RawZone(tmp_path, brokers, range_bytes=65_000), new_topic(brokers, 2)  # lines of 12 + 40 bytes
    topic.produce(*numbered(0, 4_000), partition=1)
    topic.produce(*numbered(4_000, 4_100), partition=0)
    done = zone.land(topic)
    assert zone.ranges(topic.name) == [(0, 0, 100), (1, 0, 1333), (1, 1333, 2666), (1, 2666, 4000)]
    assert zone.values(topic.name, 1) == numbered(0, 4_000)
    assert sum(item.lines for item in done.copied) == 4_100


def test_what_was_aborted_is_not_landed_and_what_is_open_waits(zone: RawZone, topic: Topic) -> None:
    topic.produce(b"first")
    topic.begin(b"aborted", b"too").abort_transaction()
    topic.until_nothing_is_open()
    topic.produce(b"second")
    open_one = topic.begin(b"third")
    assert zone.land(topic).waiting == {0: 1}
    assert zone.values(topic.name) == [b"first", b"second"]
    assert zone.land(topic).copied == []
    open_one.commit_transaction()
    topic.until_nothing_is_open()
    assert zone.land(topic).waiting == {}
    assert zone.values(topic.name) == [b"first", b"second", b"third"]
    assert zone.ranges(topic.name) == [(0, 0, 5), (0, 5, 7)]  # two markers take offsets


def test_a_range_of_nothing_but_aborted_records_lands_without_lines(zone: RawZone, topic: Topic) -> None:
    topic.begin(b"aborted").abort_transaction()
    topic.until_nothing_is_open()
    zone.land(topic)
    assert (zone.ranges(topic.name), zone.values(topic.name)) == ([(0, 0, 2)], [])


def test_offsets_that_were_deleted_before_they_landed_are_said_and_not_skipped(zone: RawZone, brokers: str) -> None:
    topic = new_topic(brokers, 2)
    topic.produce(*numbered(0, 3))
    topic.produce(b"other", partition=1)
    zone.land(topic)
    topic.produce(*numbered(3, 10))
    topic.produce(b"more", partition=1)
    topic.delete_before(6)
    with pytest.raises(CheckRefused, match=f"lost: offsets 3 to 6 of {topic.name}/0 were deleted.* --accept-lost"):
        zone.land(topic)
    assert zone.values(topic.name, 0) == numbered(0, 3)
    assert zone.values(topic.name, 1) == [b"other", b"more"]  # nothing is wrong with that partition


def test_the_operators_word_lands_what_was_lost_as_a_range_without_lines(zone: RawZone, topic: Topic) -> None:
    topic.produce(*numbered(0, 3))
    zone.land(topic)
    topic.produce(*numbered(3, 10))
    topic.delete_before(6)
    done = zone.land(topic, accept_lost=True)
    assert done.said == [f"3 offsets of {topic.name}/0/3-6 were lost"]
    assert zone.ranges(topic.name) == [(0, 0, 3), (0, 3, 6), (0, 6, 10)]
    assert zone.values(topic.name) == [*numbered(0, 3), *numbered(6, 10)]
    gone = Range(topic.name, 0, 3, 6)
    assert json.loads(zone.store.read(gone.claim_path))["source"] == "lost"
    (note,) = losses(zone.store, topic.name)
    assert (note.range, note.reason) == (gone, "lost")
    assert 0 <= note.found_at_ms - (note.next_ms or 0) < 60_000  # the broker's clock when it was produced


def test_a_claimed_range_that_lost_its_beginning_lands_the_rest_of_it_on_the_operators_word(
    zone: RawZone, topic: Topic
) -> None:
    topic.produce(*numbered(0, 10))
    killed = zone.process("land", "kafka", "--topic", topic.name, QUOTALOOP_KILL_AT="kafka:claimed")
    killed.communicate()
    topic.delete_before(4)
    with pytest.raises(CheckRefused, match="offsets 0 to 4"):
        zone.land(topic)
    zone.land(topic, accept_lost=True)
    assert zone.ranges(topic.name) == [(0, 0, 10)]
    assert zone.values(topic.name) == numbered(4, 10)
    assert [note.range for note in losses(zone.store, topic.name)] == [Range(topic.name, 0, 0, 4)]


def test_landings_at_once_that_accept_what_is_lost_make_one_chain(zone: RawZone, topic: Topic) -> None:
    topic.produce(*numbered(0, 300))
    zone.land(topic)
    topic.produce(*numbered(300, 2_000))
    topic.delete_before(1_000)
    zones = [RawZone(zone.settings.store, topic.brokers, range_bytes=size) for size in (5_000, 7_000, 11_000)]
    assert at_once(zones, lambda mine: mine.land(topic, accept_lost=True)) == []
    zone.land(topic)
    zone.ranges(topic.name)
    assert zone.values(topic.name) == [*numbered(0, 300), *numbered(1_000, 2_000)]
    assert [note.range for note in losses(zone.store, topic.name)] == [Range(topic.name, 0, 300, 1_000)]


def test_a_topic_is_first_landed_from_where_it_begins(zone: RawZone, topic: Topic) -> None:
    topic.produce(*numbered(0, 5))
    topic.delete_before(5)
    assert zone.land(topic).copied == []
    topic.produce(*numbered(5, 8))
    zone.land(topic)
    assert zone.ranges(topic.name) == [(0, 5, 8)]


def test_a_topic_that_was_made_again_is_refused_and_goes_on_as_another_on_the_operators_word(
    zone: RawZone, topic: Topic
) -> None:
    topic.produce(*numbered(0, 3))
    zone.land(topic)
    topic.remove()
    topic.make(1)
    topic.produce(*numbered(10, 15))
    code, _, err = zone.call("land", "kafka", "--topic", topic.name)
    assert (code, err.count("\n")) == (3, 1)
    assert f"topic_recreated: {topic.name} holds" in err
    assert zone.values(topic.name) == numbered(0, 3)
    assert zone.land(topic, recreated=True).topic == f"{topic.name}@2"
    assert zone.values(f"{topic.name}@2") == numbered(10, 15)
    topic.produce(*numbered(15, 16))
    assert zone.land(topic).topic == f"{topic.name}@2"  # the word is needed once
    assert (zone.ranges(topic.name), zone.ranges(f"{topic.name}@2")) == ([(0, 0, 3)], [(0, 0, 5), (0, 5, 6)])


def test_what_was_claimed_of_a_topic_that_was_made_again_lands_without_lines(zone: RawZone, topic: Topic) -> None:
    topic.produce(*numbered(0, 500))
    settings = {"QUOTALOOP_RANGE_BYTES": "3000", "QUOTALOOP_KILL_AT": "kafka:range"}
    zone.call("land", "kafka", "--topic", topic.name, **settings)
    landed = len(zone.values(topic.name))
    assert 0 < landed < 500
    topic.remove()
    topic.make(1)
    zone.land(topic, recreated=True)
    assert [end for _, _, end in zone.ranges(topic.name)][-1] == 500
    assert len(zone.values(topic.name)) == landed
    lost = [(note.range.end - note.range.start, note.reason) for note in losses(zone.store, topic.name)]
    assert (sum(offsets for offsets, _ in lost), {reason for _, reason in lost}) == (500 - landed, {"recreated"})


def test_offsets_that_run_backwards_are_refused_and_go_on_as_another_topic_on_the_operators_word(
    zone: RawZone, topic: Topic
) -> None:
    topic.produce(*numbered(0, 3))
    zone.land(topic)
    beyond = Range(topic.name, 0, 3, 50)  # what landed before the broker lost it
    zone.store.write_if_absent(beyond.path, b"")
    with pytest.raises(CheckRefused, match=f"backwards: 47 offsets from 3 to 50 of {topic.name}/0 .* --recreated"):
        zone.land(topic)
    assert zone.land(topic, recreated=True).topic == f"{topic.name}@2"
    assert zone.values(f"{topic.name}@2") == numbered(0, 3)


def test_a_partition_that_is_new_is_said_and_landed_from_its_first_offset(zone: RawZone, topic: Topic) -> None:
    topic.produce(b"old")
    zone.land(topic)
    topic.grow(3)
    topic.produce(*numbered(0, 4), partition=2)
    assert zone.land(topic).said == [
        f"{topic.name} has grown: partition 1 is new and is landed from its first offset",
        f"{topic.name} has grown: partition 2 is new and is landed from its first offset",
    ]
    assert zone.ranges(topic.name) == [(0, 0, 1), (2, 0, 4)]


def test_what_a_new_partition_lost_before_its_first_landing_is_said(zone: RawZone, topic: Topic) -> None:
    topic.produce(b"old")
    zone.land(topic)
    topic.grow(2)
    topic.produce(*numbered(0, 4), partition=1)
    topic.delete_before(2, partition=1)
    with pytest.raises(CheckRefused, match=f"offsets 0 to 2 of {topic.name}/1"):
        zone.land(topic)


def closings(zone: RawZone, topic: Topic) -> list[dict[str, object]]:
    """What lies in ``_closed``."""
    return [json.loads(zone.store.read(info.path)) for info in zone.store.files(f"raw/{topic.name}/_closed")]


def test_a_landing_closes_hours_up_to_what_waits_in_transactions_and_then_up_to_its_look(
    zone: RawZone, brokers: str
) -> None:
    topic = new_topic(brokers, 2)
    topic.produce(*numbered(0, 3), at=NOW - HOUR)
    waiting = topic.begin(b"open", partition=1, at=NOW - 9 * HOUR)
    done = zone.land(topic, now_ms=NOW)
    assert (done.watermark_ms, done.ends, done.waiting) == (NOW - 9 * HOUR, {0: 3, 1: 0}, {1: 1})
    first = {
        "closed_before": (NOW - 9 * HOUR - GRACE) // HOUR * HOUR,
        "looked_at_ms": NOW,
        "watermark_ms": NOW - 9 * HOUR,
        "ends": {"0": 3, "1": 0},
    }
    assert closings(zone, topic) == [first]
    waiting.commit_transaction()
    topic.until_nothing_is_open()
    assert zone.land(topic, now_ms=NOW + 1).watermark_ms == NOW + 1
    second = {
        "closed_before": (NOW + 1 - GRACE) // HOUR * HOUR,
        "looked_at_ms": NOW + 1,
        "watermark_ms": NOW + 1,
        "ends": {"0": 3, "1": 2},
    }
    assert closings(zone, topic) == [first, second]


def test_a_topic_ends_once_nothing_of_it_waits(zone: RawZone, topic: Topic) -> None:
    topic.produce(*numbered(0, 3))
    waiting = topic.begin(b"open")
    code, out, err = zone.call("land", "kafka", "--topic", topic.name, "--ended")
    assert (code, out) == (3, "")
    assert f"{topic.name} has not ended: offsets wait in open transactions, 1 of {topic.name}/0" in err
    assert closing.open_topics(zone.store) == [topic.name]
    waiting.commit_transaction()
    topic.until_nothing_is_open()
    assert zone.call("land", "kafka", "--topic", topic.name, "--ended")[0] == 0
    assert closing.open_topics(zone.store) == []
    (end,) = closing.of_hours(zone.store, topic.name, [4_000_000_000_000]).values()
    assert end.ends == {0: 5}


def test_a_topic_that_was_deleted_ends_with_what_has_landed(zone: RawZone, topic: Topic) -> None:
    topic.produce(*numbered(0, 3))
    zone.land(topic)
    topic.remove()
    assert zone.call("land", "kafka", "--topic", topic.name)[0] == 2
    code, out, err = zone.call("land", "kafka", "--topic", topic.name, "--ended")
    assert code == 0, err
    assert f"{topic.name} has ended with what has landed, up to offset 3 of partition 0: Kafka at" in " ".join(
        out.split()
    )
    assert closing.open_topics(zone.store) == []


def test_landings_at_once_land_everything_once(zone: RawZone, brokers: str) -> None:
    topic = new_topic(brokers, 3)
    for partition in range(3):
        topic.produce(*numbered(0, 2_000), partition=partition)
    zones = [RawZone(zone.settings.store, brokers, range_bytes=size) for size in (5_000, 7_000, 11_000)]
    assert at_once(zones, lambda mine: mine.land(topic)) == []
    zone.ranges(topic.name)
    assert [zone.values(topic.name, partition) for partition in range(3)] == [numbered(0, 2_000)] * 3


@pytest.mark.parametrize("point", faults.LANDING_POINTS)
def test_a_landing_that_was_killed_is_completed_by_the_next(zone: RawZone, brokers: str, point: str) -> None:
    topic = new_topic(brokers, 2)
    for partition in range(2):
        topic.produce(*numbered(0, 500), partition=partition)
    settings = {"QUOTALOOP_RANGE_BYTES": "3000", "QUOTALOOP_KILL_AT": point}
    code, _, err = zone.call("land", "kafka", "--topic", topic.name, **settings)
    assert code == -signal.SIGKILL, err
    zone.land(topic)
    zone.ranges(topic.name)
    assert [zone.values(topic.name, partition) for partition in range(2)] == [numbered(0, 500)] * 2
    assert zone.land(topic).copied == []


def test_a_landing_that_slept_and_wakes_up_overlaps_nobody(zone: RawZone, topic: Topic) -> None:
    topic.produce(*numbered(0, 300))
    sleeper = zone.process("land", "kafka", "--topic", topic.name, QUOTALOOP_STOP_AT="kafka:copied")
    _, status = os.waitpid(sleeper.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    zone.land(topic)
    topic.produce(*numbered(300, 400))
    zone.land(topic)
    os.kill(sleeper.pid, signal.SIGCONT)
    sleeper.communicate(timeout=60)
    assert sleeper.returncode == 0
    assert zone.ranges(topic.name) == [(0, 0, 300), (0, 300, 400)]
    assert zone.values(topic.name) == numbered(0, 400)


def test_young_records_wait_until_they_are_old_or_fill_a_range(tmp_path: Path, topic: Topic) -> None:
    zone = RawZone(tmp_path, topic.brokers, range_bytes=1_000)
    topic.produce(*numbered(0, 10), at=NOW)
    assert zone.land(topic, after_ms=900_000, now_ms=NOW + 899_999).waiting == {0: 10}
    topic.produce(*numbered(10, 90), at=NOW)
    assert zone.land(topic, after_ms=900_000, now_ms=NOW + 899_999).waiting == {}
    topic.produce(*numbered(90, 91), at=NOW)
    assert zone.land(topic, after_ms=900_000, now_ms=NOW + 900_000).waiting == {}
    assert zone.values(topic.name) == numbered(0, 91)


def test_ranges_are_landed_by_tasks_of_spark_as_by_this_process(
    tmp_path: Path,
    brokers: str,
    spark: object,  # noqa: ARG001 - the landing finds the session
) -> None:
    topic = new_topic(brokers, 2)
    for partition in range(2):
        topic.produce(*numbered(0, 1_000), partition=partition, at=NOW)
    here = RawZone(tmp_path / "here", brokers, range_bytes=6_000)
    there = RawZone(tmp_path / "there", brokers, range_bytes=6_000, land_on="spark")
    copied = [sorted(zone.land(topic).copied, key=lambda item: item.range) for zone in (here, there)]
    assert copied[0] == copied[1]
    raw = [{info.path: zone.store.read(info.path) for info in zone.store.files("raw")} for zone in (here, there)]
    files = [{path: data for path, data in found.items() if path.endswith(".gz")} for found in raw]
    assert files[0] == files[1]


def test_a_broker_that_is_away_ends_a_landing_in_bounded_time(tmp_path: Path) -> None:
    zone = RawZone(tmp_path, "127.0.0.1:1", patience=1_000)
    with pytest.raises(ServiceUnreachable, match=r"Kafka at 127\.0\.0\.1:1 cannot be reached"):
        zone.land(Topic("", "any"))
    code, _, err = zone.call("land", "kafka", "--topic", "any", QUOTALOOP_PATIENCE="1s")
    assert (code, err.count("\n")) == (5, 1)


def test_a_topic_that_is_not_there_is_a_wrong_call(zone: RawZone) -> None:
    with pytest.raises(UsageError, match="has no topic none"):
        zone.land(Topic("", "none"))


def test_a_topic_that_holds_files_takes_no_records(zone: RawZone, topic: Topic, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"{}\n")
    assert zone.call("land", "files", str(tmp_path / "f"), "--topic", topic.name)[0] == 0
    with pytest.raises(UsageError, match="holds files"):
        zone.land(topic)


def test_records_land_over_sasl_and_tls_and_the_password_is_nowhere(
    tmp_path: Path, topic: Topic, cluster: Cluster
) -> None:
    topic.produce(*numbered(0, 3))
    at = cluster.environment
    secure = {
        "QUOTALOOP_KAFKA_SECURITY": "sasl_ssl",
        "QUOTALOOP_KAFKA_USERNAME": at["KAFKA_SASL_USER"],
        "QUOTALOOP_KAFKA_PASSWORD_FILE": at["KAFKA_SASL_PASSWORD_FILE"],
        "QUOTALOOP_KAFKA_CA": at["KAFKA_CA_FILE"],
    }
    zone = RawZone(tmp_path / "store", at["KAFKA_SASL_BROKERS"])
    password = Path(at["KAFKA_SASL_PASSWORD_FILE"]).read_text().strip()
    code, out, err = zone.call("--debug", "land", "kafka", "--topic", topic.name, **secure)
    assert code == 0, err
    assert zone.values(topic.name) == numbered(0, 3)
    written = b"".join(zone.store.read(info.path) for info in zone.store.files(""))
    assert password not in out + err
    assert password.encode() not in written


def test_a_wrong_password_is_said_in_one_line_without_it(tmp_path: Path, topic: Topic, cluster: Cluster) -> None:
    at = cluster.environment
    zone = RawZone(tmp_path / "store", at["KAFKA_SASL_BROKERS"])
    code, out, err = zone.call(
        "--debug",
        "land",
        "kafka",
        "--topic",
        topic.name,
        QUOTALOOP_KAFKA_SECURITY="sasl_ssl",
        QUOTALOOP_KAFKA_USERNAME=at["KAFKA_SASL_USER"],
        QUOTALOOP_KAFKA_PASSWORD="not-the-password",
        QUOTALOOP_KAFKA_CA=at["KAFKA_CA_FILE"],
        QUOTALOOP_PATIENCE="5s",
    )
    assert code == 5, err
    assert "Kafka at" in err.splitlines()[-1]
    assert "not-the-password" not in out + err
