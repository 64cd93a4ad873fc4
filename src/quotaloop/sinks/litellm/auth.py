"""The auth hook of a LiteLLM proxy without database: keys and limits from the file that the sink ``litellm`` writes.

It needs nothing but LiteLLM, so it may be copied into the folder of the proxy's ``config.yaml``, as
``general_settings: {custom_auth: litellm_auth.user_api_key_auth}``. QUOTALOOP_LITELLM_FILE names the file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from pathlib import Path
from typing import Any

FORMAT = "quotaloop/litellm-limits@1"
FILE = "QUOTALOOP_LITELLM_FILE"

_NUMBERS = frozenset({"rpm_limit", "tpm_limit", "max_parallel_requests"})
_OF_MODELS = frozenset({"model_rpm_limit", "model_tpm_limit"})
_log = logging.getLogger(__name__)
_files: dict[str, LimitsOfKeys] = {}


async def user_api_key_auth(request: Any, api_key: str) -> Any:  # noqa: ARG001 - LiteLLM names them
    """Who a key is, with the limits of this moment, as LiteLLM's ``UserAPIKeyAuth``.

    Raises LiteLLM's ``ProxyException``: 401 for a key that the file does not hold, 503 while there is no file.
    """
    from litellm.proxy._types import ProxyException, UserAPIKeyAuth

    path = os.environ.get(FILE, "")
    limits = _files.setdefault(path, LimitsOfKeys(Path(path)))
    try:
        found = limits.of(api_key, time.time_ns() // 1_000_000)
    except LookupError as error:
        raise ProxyException(str(error), "service_unavailable", FILE, 503) from error
    if found is None:
        raise ProxyException("the key is not known here", "auth_error", "api_key", 401)
    return UserAPIKeyAuth(**found)


class LimitsOfKeys:
    """The limits in a file, read again when it has changed; of a bad one, the last good one stays in force."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._limits: dict[str, Any] | None = None

    def of(self, key: str, now_ms: int) -> dict[str, Any] | None:
        """Arguments of ``UserAPIKeyAuth`` for a key at a time (epoch ms); None for one that is not in the file.

        Outside the time of the policy, the safe capacity. Raises ``LookupError`` if no good file was ever there.
        """
        self._read_if_changed()
        if self._limits is None:
            raise LookupError(f"no limits: {FILE} names no file that can be read")
        hashed = hashlib.sha256(key.encode()).hexdigest()  # what LiteLLM's hash_token does
        held = self._limits["keys"].get(hashed)
        if held is None:
            return None
        is_valid = self._limits["valid_from_ms"] <= now_ms < self._limits["expires_at_ms"]
        numbers = held if is_valid else self._limits["safe_capacity"]
        arguments = {name: numbers[name] for name in sorted(_NUMBERS & numbers.keys())}
        models = {name: numbers[name] for name in sorted(_OF_MODELS & numbers.keys()) if numbers[name]}
        return {"api_key": hashed, "user_id": held["tenant"], **arguments, "metadata": models}

    def _read_if_changed(self) -> None:
        try:
            status = self._path.stat()
            seen = (status.st_ctime_ns, status.st_ino, status.st_size)
            if seen == self._seen:
                return
            self._seen = seen
            limits = parsed(self._path.read_bytes())
            if self._limits is not None and limits["epoch"] < self._limits["epoch"]:
                raise ValueError(f"epoch {limits['epoch']} is older than {self._limits['epoch']}, which is in force")
            self._limits = limits
        except (OSError, ValueError) as error:
            _log.error("limits of LiteLLM: %s is not used: %s", self._path, error)


def parsed(data: bytes) -> dict[str, Any]:
    """The whole file or nothing: raises ``ValueError`` with what is wrong first."""
    try:
        document = json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    for name in ("epoch", "valid_from_ms", "expires_at_ms"):
        _require(type(document.get(name)) is int, name)
    _check_numbers(document.get("safe_capacity"), "safe_capacity")
    _require(isinstance(document.get("keys"), dict), "keys")
    for hashed, fields in document["keys"].items():
        _require(re.fullmatch("[0-9a-f]{64}", hashed) is not None, "keys: a name that is not a SHA-256")
        _check_numbers(fields, f"keys: {hashed[:8]}...")
        _require(isinstance(fields.get("tenant"), str) and fields["tenant"] != "", f"keys: {hashed[:8]}...: tenant")
    return document


def _check_numbers(fields: Any, where: str) -> None:
    """All limits are whole numbers, and there is one: none would be unlimited."""
    _require(isinstance(fields, dict) and bool(_NUMBERS & fields.keys()), where)
    _require(fields.keys() <= _NUMBERS | _OF_MODELS | {"tenant"}, where)
    for name in sorted(_NUMBERS & fields.keys()):
        _require(type(fields[name]) is int and fields[name] >= 0, f"{where}: {name}")
    for name in sorted(_OF_MODELS & fields.keys()):
        _require(isinstance(fields[name], dict), f"{where}: {name}")
        _require(all(type(number) is int and number >= 0 for number in fields[name].values()), f"{where}: {name}")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"{what} is missing or not valid")
