"""Fields of the event for typed JSON readers."""

from __future__ import annotations

TEXT = (
    *("event_id", "ts", "tenant", "route", "api_version", "method", "protocol", "version_source", "operation"),
    *("model", "outcome", "denied_by", "retry_of", "api_key_id", "host", "boot", "prev_boot"),
)
WHOLE = (
    *("status", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    *("total_tokens", "wanted_tokens", "bytes_in", "bytes_out", "stream_messages", "seq", "prev_seq"),
)
REAL = ("duration_ms", "ttft_ms", "gpu_ms")
TOKENS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
GROWTH = 1.01 / 0.99  # of the latency buckets


def types(text: str, whole: str, real: str) -> dict[str, str]:
    """Field to its type in the words of an engine."""
    return dict.fromkeys(TEXT, text) | dict.fromkeys(WHOLE, whole) | dict.fromkeys(REAL, real)
