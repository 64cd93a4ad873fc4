"""Five minutes of a producer, a scheduler and a random nemesis; the ledger is held against what is left."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress

import pytest

from quotaloop.storage.address import open_store
from tests.cluster.ledger import PARTITIONS, Ledger, chosen
from tests.cluster.runs import EXECUTOR, MAPPER, Run, environment, processes, until_done
from tests.cluster.topics import new_topic
from tests.servers import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

SECONDS = 300
SEED = int(os.environ.get("QUOTALOOP_TEST_SEED", "20261121"))


def test_nothing_is_lost_or_counted_twice_whatever_dies(cluster: Cluster) -> None:
    print(f"seed {SEED}; QUOTALOOP_TEST_SEED sets another")
    cluster.up()
    ledger, dice = Ledger(SEED), chosen(SEED)
    topic = new_topic(cluster.environment["QUOTALOOP_KAFKA_BROKERS"], PARTITIONS)
    env = environment(
        cluster, f"soak-{uuid.uuid4().hex[:8]}", kafka_topics=topic.name, land_after="5s", range_bytes="2000000"
    )
    deadline = time.monotonic() + SECONDS
    broker = threading.Lock()  # a producer that loses its broker for good would lose what it has not sent
    failures: list[BaseException] = []

    def produce() -> None:
        try:
            for batch in ledger.batches():
                with broker:
                    topic.produce_all(batch)
                threading.Event().wait(min(10.0, max(0.0, deadline - time.monotonic())))
        except BaseException as error:
            failures.append(error)

    producer = threading.Thread(target=produce)
    producer.start()
    blows: Counter[str] = Counter()
    hits: Counter[str] = Counter()  # a blow may find nobody; who is there depends on the machine
    run = Run(env, "run")
    try:
        while time.monotonic() < deadline:
            threading.Event().wait(dice.uniform(2, 15))
            blow = dice.choice(["namenode", "datanode", "kafka", "run", "executor", "mapper", "nothing"])
            blows[blow] += 1
            if blow in ("namenode", "datanode", "kafka"):
                with broker:
                    cluster.kill(blow)
                    cluster.start(blow)
                hits[blow] += 1
            elif blow == "run":
                hits[blow] += not run.has_ended
                run.sweep()
            elif blow in ("executor", "mapper"):
                for process in processes(cluster, *(EXECUTOR if blow == "executor" else MAPPER))[:1]:
                    with suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                        hits[blow] += 1
            if run.has_ended:
                run = Run(env, "run")
    finally:
        producer.join()
        run.end()
        run.sweep()
        cluster.up()
    assert failures == []
    until_done(env)
    until_done(env)
    store = open_store(env["QUOTALOOP_STORE"], webhdfs=env["QUOTALOOP_WEBHDFS"])
    ledger.check(store, topic.name)
    print("blows that hit:", ", ".join(f"{name} {hits[name]} of {blows[name]}" for name in sorted(blows)))
