"""Requests as columns of random numbers: sizes, durations and fates, drawn with numpy, handed out one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sample.population import (
    CHAT,
    GATEWAYS,
    IMAGE,
    MODEL_WEIGHTS,
    PLAIN,
    PROFILES,
    REASONING_MODEL,
    SILENT_TENANT,
    TENANTS,
    UNSTAMPED,
    UNSTAMPED_SHARE,
    ZIPF_EXPONENT,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


# How an attempt ends, in the order of the shares that ``_fates`` hands out.
DENIED, ERROR, CANCELLED, OK = range(4)


class Slice(NamedTuple):
    """A stretch of time in epoch ms, and how busy it is (1.0 is the mean hour)."""

    start_ms: int
    end_ms: int
    load: float


class Request(NamedTuple):
    """One attempt before it is written; the sizes are those it has, or would have had, when admitted."""

    arrival_ms: int
    tenant: int
    profile: int
    model: int
    gateway: int
    fate: int
    code: float  # picks the status among those of the fate
    input_tokens: int
    cache_read: int
    cache_write: int
    output_tokens: int
    reasoning: int
    duration_us: int
    ttft_us: int
    gpu_us: int
    bytes_in: int
    lasting_us: int  # the duration as it came out


def lasting_us(fate: int, duration_us: int, ttft_us: int) -> int:
    """Refusals take a millisecond or two, failures a tenth of the work."""
    if fate == DENIED:
        return 700 + ttft_us % 2000
    return duration_us // 10 if fate == ERROR else duration_us


def _cumulated(weights: tuple[float, ...] | list[float]) -> Floats:
    sums = np.cumsum(np.asarray(weights, dtype=np.float64))
    cumulated: Floats = sums / sums[-1]
    return cumulated


_TENANT = _cumulated([1 / rank**ZIPF_EXPONENT for rank in range(1, len(TENANTS) + 1)])
_PROFILE = _cumulated([profile.weight for profile in PROFILES])
_MODELS = [_cumulated(weights) for weights in MODEL_WEIGHTS]
_FAMILY = np.array([profile.family for profile in PROFILES])
_STREAM = np.array([profile.stream for profile in PROFILES])
_BASE_US = np.array([profile.base_ms * 1000 for profile in PROFILES])
_SIGMA = np.array([profile.sigma for profile in PROFILES])
_TOKEN_US = np.array([profile.token_ms * 1000 for profile in PROFILES])
_DENIED_SHARE = np.array([0.055 if tenant < 3 else 0.025 for tenant in range(len(TENANTS))])
_LONGEST_US = 3 * 3600 * 1_000_000


def draw(rng: np.random.Generator, part: Slice, count: int, *, denials: bool) -> Iterator[Request]:
    """``count`` requests that arrive in the slice, in no order; only uniform and normal numbers are drawn."""
    uniform = rng.random((9, count))
    normal = rng.standard_normal((3, count))
    profile = _picks(_PROFILE, uniform[0])
    family = _FAMILY[profile]
    tenant = _picks(_TENANT, uniform[1])
    model = np.choose(family, [_picks(weights, uniform[2]) for weights in _MODELS])
    arrival = part.start_ms + (uniform[3] * (part.end_ms - part.start_ms)).astype(np.int64)
    gateway = _gateways(tenant, uniform[4])
    fate = _fates(tenant, profile, uniform[5], part.load if denials else 0.0)
    tokens = _tokens(family == CHAT, model == REASONING_MODEL, normal[0], normal[1], uniform[7])
    times = _times(profile, tokens, normal[2], uniform[8])
    lasting = np.choose(fate, [700 + times[1] % 2000, times[0] // 10, times[0], times[0]])
    bytes_in = np.where(family == IMAGE, 20_000 + times[0], 240 + 4 * tokens[0])
    columns: list[npt.NDArray[Any]] = [arrival, tenant, profile, model, gateway, fate, uniform[6], *tokens, *times]
    columns += [bytes_in, lasting]
    return map(Request._make, zip(*(column.tolist() for column in columns), strict=True))


def _picks(cumulated: Floats, uniform: Floats) -> Ints:
    return np.searchsorted(cumulated, uniform, side="right").astype(np.int64)


def _gateways(tenant: Ints, uniform: Floats) -> Ints:
    stamped = (uniform / (1 - UNSTAMPED_SHARE) * len(GATEWAYS)).astype(np.int64)
    return np.where(tenant == SILENT_TENANT, UNSTAMPED, np.minimum(stamped, UNSTAMPED))


def _fates(tenant: Ints, profile: Ints, uniform: Floats, load: float) -> Ints:
    """Denials grow with the load and spare plain requests; streams are cancelled more often."""
    denied = np.where(_FAMILY[profile] == PLAIN, 0.0, _DENIED_SHARE[tenant] * min(load, 1.5))
    failed = denied + 0.022
    cancelled = failed + np.where(_STREAM[profile], 0.035, 0.004)
    return (uniform >= denied).astype(np.int64) + (uniform >= failed) + (uniform >= cancelled)


def _tokens(chat: npt.NDArray[np.bool_], reasons: npt.NDArray[np.bool_], a: Floats, b: Floats, u: Floats) -> list[Ints]:
    """Exclusive classes: input, cache read, cache write, output, reasoning; lognormal, 0 where nothing is generated."""
    prompt = np.clip(np.rint(np.exp(5.9 + 1.1 * a)), 1, 120_000) * chat
    cache_read = np.where(u < 0.3, np.rint(prompt * u * 12), 0)
    cache_write = np.where((u > 0.3) & (u < 0.4), np.rint(prompt * u), 0)
    output = np.clip(np.rint(np.exp(5.1 + 0.9 * b)), 1, 8192) * chat
    reasoning = np.where(reasons & chat, np.rint(output * (0.5 + 2 * u)), 0)
    return [column.astype(np.int64) for column in (prompt, cache_read, cache_write, output, reasoning)]


def _times(profile: Ints, tokens: list[Ints], normal: Floats, uniform: Floats) -> list[Ints]:
    """Whole microseconds: duration, time to first token (0 where nothing streams), accelerator time."""
    prompt, _, _, output, reasoning = tokens
    noise = np.exp(_SIGMA[profile] * normal)
    duration = np.minimum(np.rint(noise * (_BASE_US[profile] + _TOKEN_US[profile] * (output + reasoning))), _LONGEST_US)
    first = np.rint(np.minimum(duration, 90_000 + 2_500_000 * uniform**3 + 40 * prompt))
    chat = np.rint(prompt * 95 + (output + reasoning) * 6_300 * (0.8 + 0.4 * uniform))
    image = np.rint(duration * (0.4 + 0.3 * uniform))
    compute = np.where(prompt > 0, chat, np.where(_FAMILY[profile] == IMAGE, image, 0))
    return [column.astype(np.int64) for column in (duration, first, compute)]
