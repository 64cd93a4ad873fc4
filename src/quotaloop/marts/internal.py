"""Tables that only the next build reads: what it needs of hours that it does not parse again."""

from __future__ import annotations

import pyarrow as pa

from quotaloop.events.columns import TIME

_LONG, _TEXT = pa.int64(), pa.string()
_COORDINATES = [("topic", _TEXT), ("partition", pa.int32()), ("range_start", _LONG), ("offset", _LONG)]

EXCLUSIONS = "exclusions"
STAMP_RUNS = "stamp_runs"
PRIOR_STAMPS = "prior_stamps"
INTERNAL_SCHEMAS = {
    EXCLUSIONS: pa.schema([("hour", TIME), *_COORDINATES, ("outcome", _TEXT)]),
    STAMP_RUNS: pa.schema(
        [("hour", TIME), ("host", _TEXT), ("boot", _TEXT), ("first_seq", _LONG), ("last_seq", _LONG), ("events", _LONG)]
    ),
    PRIOR_STAMPS: pa.schema(
        [("hour", TIME), ("host", _TEXT), ("boot", _TEXT), ("prev_boot", _TEXT), ("prev_seq", _LONG)]
    ),
}
