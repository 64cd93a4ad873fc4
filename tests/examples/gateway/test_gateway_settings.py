"""Settings of the gateway, and its commands."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from examples.gateway.__main__ import main
from examples.gateway.edge import build
from examples.gateway.keys import Keys, make_keys, read
from examples.gateway.models import classifier
from examples.gateway.models.pictures import grey
from examples.gateway.settings import Settings, load
from quotaloop.errors import UsageError
from tests.examples.gateway.in_process import Written


def test_a_flag_is_before_the_environment_and_that_before_the_default() -> None:
    found = load({"port": "1"}, {"GATEWAY_PORT": "2", "GATEWAY_PACE_MS": "2.5", "GATEWAY_FAULTS": "true", "PORT": "3"})
    assert (found.port, found.pace_ms, found.faults, found.host) == (1, 2.5, True, "127.0.0.1")
    assert load({}, {}) == Settings()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"colour": "red"}, "no setting colour"),
        ({"port": "x"}, "port is no int"),
        ({"port": "65536"}, "port is 0 to 65535"),
        ({"faults": "perhaps"}, "faults is no bool"),
        ({"heartbeat_s": "0"}, "heartbeat_s is above 0"),
        ({"heartbeat_s": "nan"}, "heartbeat_s is above 0"),
        ({"clock_behind_s": "nan"}, "clock_behind_s is at most"),
        ({"pace_ms": "-1"}, "pace_ms is 0 or above"),
        ({"safe_requests": "0"}, "safe_requests is above 0"),
    ],
)
def test_a_setting_that_is_none_is_told(flags: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(flags, {})


def test_a_safe_capacity_that_cannot_be_counted_is_told() -> None:
    with pytest.raises(UsageError, match="safe capacity"):
        build(Settings(safe_compute=2**52), Keys([]), Written())


def test_no_secret_is_in_the_words_for_settings() -> None:
    assert "s3cret" not in repr(Settings(redis_url="redis://:s3cret@host", redis_secret="s3cret"))


def test_keys_are_made_and_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys.json"
    assert main(["keys", "--tenants", "acme,globex", "--out", str(path)]) == 0
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines())
    keys = Keys(read(path))
    assert {tenant: found.tenant for tenant, key in printed.items() if (found := keys.find(key))} == {
        "acme": "acme",
        "globex": "globex",
    }


def test_a_wrong_call_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "--tenants", "a b", "--out", str(tmp_path / "keys.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["serve", "--keys", str(tmp_path / "none.json")]) == 4
    assert capsys.readouterr().err.count("\n") == 1


def test_a_port_of_grpc_that_is_taken_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_keys(tmp_path / "keys.json", ["acme"])
    folders = [f"--{name}={tmp_path / name}" for name in ("spool", "outbox")]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = ["--port=-1", f"--grpc-port={taken.getsockname()[1]}"]
        assert main(["serve", f"--keys={tmp_path / 'keys.json'}", *folders, *ports]) == 2
    assert "is the port taken?" in capsys.readouterr().err


def test_a_digit_is_drawn(tmp_path: Path) -> None:
    assert main(["digit", "--digit", "3", "--out", str(tmp_path / "three.png")]) == 0
    assert grey((tmp_path / "three.png").read_bytes()) == pytest.approx(classifier.unseen(3), abs=0.01)
