"""Calls of LiteLLM's management API: the admin key is read when it is needed and stands in no message."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from quotaloop.errors import CheckRefused, ServiceUnreachable, UsageError
from quotaloop.sinks.sink import Configuration

_TIMEOUT_S = 30


class Client:
    """One proxy at the option ``url``, with the key from ``api_key_env`` (a variable) or ``api_key_file`` (a path)."""

    def __init__(self, configuration: Configuration) -> None:
        self._name = configuration.name
        options = configuration.options
        url = options.get("url")
        if not isinstance(url, str) or not _is_plain(url):
            raise UsageError(f"sink {self._name}: url is http://... or https://... without a user, query or fragment")
        self._url = url.rstrip("/")
        given = [options[name] for name in ("api_key_env", "api_key_file") if name in options]
        if len(given) != 1 or not isinstance(given[0], str):
            raise UsageError(f"sink {self._name}: api_key_env or api_key_file is needed, one of them")
        self._variable = options.get("api_key_env")
        self._file = options.get("api_key_file")

    def get(self, path: str, **query: str) -> dict[str, Any] | None:
        """The answer; None for 404."""
        return self._call("GET", path, query, None)

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        """Raises ``CheckRefused`` also for 404."""
        if self._call("POST", path, None, body) is None:
            raise CheckRefused(f"sink {self._name}: LiteLLM refused {path} with status 404")

    def _call(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> dict[str, Any] | None:
        """Raises ``ServiceUnreachable``, ``UsageError`` for a key that is not accepted, ``CheckRefused`` for other 4xx.

        What LiteLLM says is not repeated: it may quote keys.
        """
        headers = {"Authorization": f"Bearer {self._key()}"}
        try:
            response = requests.request(
                method,
                self._url + path,
                params=query,
                json=body,
                headers=headers,
                timeout=_TIMEOUT_S,
                allow_redirects=False,
            )
            status = response.status_code
            answer = response.json() if status == 200 else None
        except (requests.RequestException, ValueError) as error:  # not JSON is a ValueError
            raise ServiceUnreachable(
                f"sink {self._name}: LiteLLM at {self._url} does not answer {path}: {type(error).__name__}"
            ) from None  # its text holds the address with its query
        if status == 404:
            return None
        if status in (401, 403):
            raise UsageError(f"sink {self._name}: LiteLLM does not accept its admin key for {path} (status {status})")
        if 400 <= status < 500 and status not in (408, 429):
            raise CheckRefused(f"sink {self._name}: LiteLLM refused {path} with status {status}")
        if not isinstance(answer, dict):
            raise ServiceUnreachable(f"sink {self._name}: LiteLLM at {self._url} answers {path} with status {status}")
        return answer

    def _key(self) -> str:
        if self._variable is not None:
            key, where = os.environ.get(self._variable, ""), f"the variable {self._variable}"
        else:
            where = f"the file {self._file}"
            try:
                key = Path(str(self._file)).read_text(encoding="ascii")
            except (OSError, ValueError) as error:
                raise UsageError(f"sink {self._name}: {where} cannot be read: {type(error).__name__}") from None
        key = key.strip()
        if not key or not key.isascii() or not key.isprintable():
            raise UsageError(f"sink {self._name}: {where} holds no key of LiteLLM")
        return key


def _is_plain(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and not (parts.username or parts.password or parts.query or parts.fragment)
    )
