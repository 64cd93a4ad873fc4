"""The mosquitto that tests start: found where Debian puts it, and ended when it does not answer."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from peers.mosquitto import Mosquitto, program

CHECK = Path(__file__).parents[2] / "bin" / "check-mosquitto"
DEBIAN = Path("/usr/sbin/mosquitto")


def refuses(port: int) -> bool:
    """Does nobody listen there?"""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.peers
@pytest.mark.skipif(not DEBIAN.exists(), reason="not where Debian puts it")
def test_it_is_found_where_the_path_of_ordinary_users_does_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert program() == str(DEBIAN)
    subprocess.run([CHECK], check=True)


@pytest.mark.peers
def test_one_that_does_not_answer_is_an_error_and_has_ended(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    listens = broker.port
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        broker.port = silent.getsockname()[1]  # where it is asked, and does not listen
        with pytest.raises(RuntimeError, match="mosquitto does not answer"):
            broker.start(patience_s=0.5)
    assert refuses(listens)


@pytest.mark.peers
def test_one_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no_such_setting"):
        Mosquitto(tmp_path, ["no_such_setting true"]).start()
