"""Sums are 64-bit: a group that would not fit stops the build, by name."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from quotaloop.errors import CheckRefused
from quotaloop.events.event import TOKEN_CLASSES
from quotaloop.marts.tables import USAGE_HOURLY
from quotaloop.parsed.unit import Note

GREATEST = 2**63 - 1
_DAILY_GRAIN = tuple(name for name in USAGE_HOURLY.grain if name != "hour")


def check(events: DataFrame, notes: Iterable[Note]) -> None:
    """Raise ``CheckRefused`` if a sum of a group does not fit; free while all events together stay below the bound."""
    if 5 * sum(note.greatest_sum for note in notes) <= GREATEST:
        return
    wide = {
        name: F.sum(F.col(name).cast("decimal(38,0)")) for name in (*TOKEN_CLASSES, "gpu_us", "bytes_in", "bytes_out")
    }
    wide["total_tokens"] = F.sum(F.col("total_tokens").cast("decimal(38,0)"))
    wide["wanted_tokens"] = F.sum(F.col("wanted_tokens").cast("decimal(38,0)"))
    sums = events.groupBy("tenant", F.to_date("hour").alias("date")).agg(
        *(column.alias(name) for name, column in wide.items())
    )
    for name in wide:
        row = sums.where(F.col(name) > GREATEST).orderBy("tenant", "date").first()
        if row is not None:
            raise CheckRefused(f"the sum of {name} of tenant {row.tenant} on {row.date} does not fit into 64 bits")
