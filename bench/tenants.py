"""Who is in the made-up weeks, and how much each wants of every minute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.served import Client

DAY_MINUTES = 1_440
WEEKEND = 0.4
FLASH_DAY, FLASH_MINUTES, FLASH_TIMES = 12, range(14 * 60, 17 * 60), 15
FLOOD_HOURS = range(10, 16)  # of the tenant that floods, on working days
FLOOD_TIMES = 6

USUAL = Client()
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tenant:
    """``a_minute`` requests of about ``tokens`` on a usual working day, most at ``peak_hour`` (UTC).

    ``growth``: times as many after 28 days. It is there from day ``first`` up to, not including, day ``last``.
    ``bursts``: a day, each of 5 to 40 minutes and 3 to 7 times the rate.
    """

    name: str
    a_minute: float
    tokens: int
    peak_hour: int = 14
    growth: float = 1.0
    bursts: float = 1.0
    first: int = 0
    last: int = 10_000
    flash: bool = False
    floods: bool = False
    client: Client = USUAL


FLOODING = "greedy"
TENANTS: tuple[Tenant, ...] = (
    *(Tenant(f"large-{place}", 4.0 - place * 0.5, 900 - 150 * place, 13 + place) for place in range(4)),
    *(Tenant(f"middle-{place}", 1.6 - place * 0.1, 300 + 200 * place, 8 + 2 * place, bursts=2) for place in range(6)),
    *(Tenant(f"small-{place}", 0.5, 200 + 100 * place, 6 + 3 * place, bursts=2) for place in range(6)),
    Tenant("night-batch", 3.0, 1_500, 2, bursts=0),
    Tenant("growing", 1.5, 600, growth=4),
    Tenant("shrinking", 3.0, 600, growth=0.3),
    Tenant("bursty", 1.0, 800, bursts=8),
    Tenant("flash-crowd", 1.0, 400, flash=True),
    Tenant("newcomer", 2.0, 500, first=8),
    Tenant("latecomer", 2.5, 700, first=15),
    Tenant("leaver", 2.5, 700, last=10),
    Tenant(FLOODING, 2.0, 700, bursts=0, floods=True, client=Client(retries=10, backoff=1)),
)


def rates(tenant: Tenant, days: int, dice: np.random.Generator) -> Floats:
    """Requests that it wants of each minute from a Monday on, on average; what comes is Poisson distributed."""
    minute = np.arange(days * DAY_MINUTES)
    day, hour = minute // DAY_MINUTES, minute % DAY_MINUTES / 60
    shape = 0.15 + 1.7 * ((1 + np.cos((hour - tenant.peak_hour) / 24 * 2 * np.pi)) / 2) ** 2
    weekly = np.where(day % 7 < 5, 1.0, WEEKEND)
    growth = tenant.growth ** (minute / (28 * DAY_MINUTES))
    there = (day >= tenant.first) & (day < tenant.last)
    noise = dice.gamma(4, 1 / 4, len(minute))
    found: Floats = tenant.a_minute * shape * weekly * growth * there * noise * _bursts(tenant, days, dice)
    if tenant.flash:
        found[(day == FLASH_DAY) & np.isin(minute % DAY_MINUTES, FLASH_MINUTES)] *= FLASH_TIMES
    if tenant.floods:
        found[(day % 7 < 5) & np.isin(hour.astype(int), FLOOD_HOURS)] *= FLOOD_TIMES
    return found


def _bursts(tenant: Tenant, days: int, dice: np.random.Generator) -> Floats:
    times = np.ones(days * DAY_MINUTES)
    for _ in range(int(dice.poisson(tenant.bursts * days))):
        start = int(dice.integers(0, len(times)))
        times[start : start + int(dice.integers(5, 41))] = dice.uniform(3, 7)
    return times
