"""The LiteLLM sink: limits of keys or teams of a LiteLLM proxy, by its management API or by a file and an auth hook."""

from __future__ import annotations

from typing import ClassVar, Protocol

from quotaloop.errors import UsageError
from quotaloop.quotas.policy import Policy, check_push
from quotaloop.quotas.target import Manner, Target, TokenClass
from quotaloop.sinks.litellm.api import ManagementApi
from quotaloop.sinks.litellm.file import LimitsFile
from quotaloop.sinks.litellm.limits import Fields, held
from quotaloop.sinks.sink import Configuration

# What `token_rate_limit_type` lets LiteLLM 1.106 count: "input", "output" and the default, "total". Tokens that the
# provider read from its cache are subtracted from the first and the last.
_INPUT: frozenset[TokenClass] = frozenset({"input", "cache_write"})
_OUTPUT: frozenset[TokenClass] = frozenset({"output", "reasoning"})
_COUNTED = (_INPUT | _OUTPUT, _INPUT, _OUTPUT)
_DATABASE = frozenset({"of", "url", "api_key_env", "api_key_file"})
_WINDOW_S = 60


class _Place(Protocol):
    """Where the limits of a mode lie; ``limits`` are the fields of every tenant."""

    def publish(self, policy: Policy, limits: dict[str, Fields]) -> None: ...

    def epoch(self) -> int | None: ...

    def drift(self, policy: Policy, limits: dict[str, Fields]) -> list[str]: ...


class LiteLLMSink:
    """Keys (or teams) of the option ``tenants``, each with numbers of its own; tenants without limit get the safe ones.

    The facts below are those of LiteLLM 1.106, ``proxy/hooks/parallel_request_limiter_v3.py``: a window begins with the
    first request after the one before has ended, and requests and tokens of a key share one. Limits are not charged
    together: a request is charged under requests before its slot and, by default, its tokens are asked for. The first
    request that is above a limit is counted under it, later ones are not: the window does not move, so neither changes
    anything. With LITELLM_TPM_TOKEN_RESERVATION_ENABLED=false tokens are charged when the response has ended, and one
    more a request on arrival, and of those that tokens refuse only the first in a window is charged under requests; by
    default an estimate is charged on arrival and put right at the end. 0 lets nothing pass.
    """

    usual = Target(
        {"requests": "window_from_first", "tokens": "window_from_first", "concurrency": "concurrency"},
        Manner(together=False),
        after=frozenset({"tokens"}),
        token_classes=_INPUT | _OUTPUT,
    )
    choices: ClassVar = {kind: frozenset({algorithm}) for kind, algorithm in usual.algorithms.items()}
    options: ClassVar = frozenset({"mode", "path", "window_seconds"}) | _DATABASE

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        name, options = configuration.name, configuration.options
        self._window_s = options.get("window_seconds", _WINDOW_S)
        if type(self._window_s) is not int or self._window_s < 1:
            raise UsageError(f"sink {name}: window_seconds is a whole number above 0, not {self._window_s!r}")
        if not configuration.tenants:
            raise UsageError(f"sink {name}: tenants is needed: LiteLLM knows tenants by their keys or teams")
        if configuration.target.token_classes not in _COUNTED:
            able = " or ".join(", ".join(sorted(classes)) for classes in _COUNTED)
            raise UsageError(f"sink {name}: token_classes: LiteLLM counts {able}")
        self._place = self._of_mode(options.get("mode"))

    def check(self, policy: Policy) -> None:
        """Can every number be held to the unit?"""
        self._checked(policy)

    def publish(self, policy: Policy) -> None:
        """Put the policy in force: of the file in one step, by the API one tenant after the other."""
        self._place.publish(policy, self._checked(policy))

    def epoch(self) -> int | None:
        """Of the file; by the API, the greatest of any tenant."""
        return self._place.epoch()

    def drift(self, policy: Policy) -> list[str]:
        """A line for each field that is not as published."""
        return self._place.drift(policy, self._checked(policy))[:100]

    def _checked(self, policy: Policy) -> dict[str, Fields]:
        check_push(policy, None)
        return held(self.configuration, policy, self._window_s)

    def _of_mode(self, mode: object) -> _Place:
        name, options = self.configuration.name, self.configuration.options
        if mode == "api":
            if "path" in options:
                raise UsageError(f"sink {name}: path is an option of mode file")
            return ManagementApi(self.configuration)
        if mode != "file":
            raise UsageError(f"sink {name}: mode is api or file, not {mode!r}")
        if others := sorted(_DATABASE & options.keys()):
            raise UsageError(f"sink {name}: {', '.join(others)}: an option of mode api")
        return LimitsFile(self.configuration, self._window_s)
