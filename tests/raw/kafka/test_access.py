"""What the client does not take is a wrong call, said without the password."""

from __future__ import annotations

import pytest

from quotaloop.errors import UsageError
from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.consumer import consumer
from tests.raw.kafka.conftest import Call


def test_a_consumer_with_settings_that_cannot_be_is_a_wrong_call() -> None:
    access = Access("127.0.0.1:1", protocol="sasl_plaintext", mechanism="FOO", username="u", password="pass-word")
    with pytest.raises(UsageError, match="kafka_mechanism") as said, consumer(access):
        pass
    assert "pass-word" not in str(said.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"QUOTALOOP_KAFKA_SECURITY": "sasl_plaintext", "QUOTALOOP_KAFKA_MECHANISM": "FOO"},
        {"QUOTALOOP_KAFKA_SECURITY": "ssl", "QUOTALOOP_KAFKA_CA": "nowhere.pem"},
    ],
    ids=["mechanism", "authorities"],
)
def test_settings_that_the_client_does_not_take_are_a_wrong_call_without_the_password(
    call: Call, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]
) -> None:
    for name, value in (wrong | {"QUOTALOOP_KAFKA_USERNAME": "u", "QUOTALOOP_KAFKA_PASSWORD": "pass-word"}).items():
        monkeypatch.setenv(name, value)
    code, out, err = call("--topic", "t")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "kafka_mechanism" in err
    assert "kafka_ca" in err
    assert "pass-word" not in err
