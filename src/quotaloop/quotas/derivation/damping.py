"""How far a limit moves from the one in force: not at all in the dead band, and never more than a step at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from quotaloop.errors import UsageError
from quotaloop.settings import Settings


@dataclass(frozen=True, slots=True)
class Damping:
    """The dead band, wider below than above (hysteresis), and the greatest step, as factors of the old limit.

    An old limit is in units of the new one's period; it is a fraction where its own period was another one.
    """

    band_up: Fraction
    band_down: Fraction
    step_up: Fraction
    step_down: Fraction

    @classmethod
    def of(cls, settings: Settings) -> Damping:
        """Of the settings, read as the decimals they were written as; raises ``UsageError`` out of range."""
        names = ("dead_band_up", "dead_band_down", "greatest_step_up", "greatest_step_down")
        damping = cls(*(Fraction(str(getattr(settings, name))) for name in names))
        for holds, rule in (
            (damping.band_up >= 0, "dead_band_up is not below 0"),
            (0 <= damping.band_down < 1, "dead_band_down is at least 0 and below 1"),
            (damping.step_up > 1, "greatest_step_up is above 1"),
            (0 <= damping.step_down < 1, "greatest_step_down is at least 0 and below 1"),
        ):
            if not holds:
                raise UsageError(f"settings: {rule}")
        return damping

    def keeps(self, wanted: int, old: Fraction) -> bool:
        """Is what is wanted in the dead band around the old limit? Its edges are part of it."""
        return old * (1 - self.band_down) <= wanted <= old * (1 + self.band_up)

    def most(self, old: Fraction) -> int:
        """The greatest limit that is no greater step, or one unit above the old one where that is more."""
        return max(math.floor(old * self.step_up), math.floor(old + 1))

    def least(self, old: Fraction) -> int:
        """The least limit that is no greater step, or one unit below the old one where that is less.

        >>> halves = Damping(Fraction(0), Fraction(0), Fraction(2), Fraction(1, 2))
        >>> [halves.least(Fraction(old)) for old in (9, 2, 1)]
        [5, 1, 0]
        """
        return min(math.ceil(old * self.step_down), math.ceil(old - 1))

    def damped(self, wanted: int, old: Fraction, *, floor: int, cap: int) -> tuple[int, str | None]:
        """The limit that follows the old one on the way to what is wanted, and the word for what held it back, if any.

        An old limit outside of ``floor`` and ``cap``, which are others now, does not stay for the dead band.
        """
        if wanted == old:
            return wanted, None
        if floor <= old <= cap and old >= 1 and self.keeps(wanted, old):
            return math.floor(old), "dead_band"
        limit = max(min(wanted, self.most(old)), self.least(old))
        return limit, None if limit == wanted else "step_up" if limit < wanted else "step_down"
