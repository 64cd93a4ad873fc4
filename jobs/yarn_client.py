"""How long a client of YARN waits for a ResourceManager that is away; Hadoop's default is a quarter of an hour."""

from __future__ import annotations


def waits(patience_ms: int) -> dict[str, str]:
    """Hadoop's properties: three tries with half the patience between them.

    A try itself knocks for ten seconds where a port is closed, so that the whole takes the patience and half a minute;
    with a second ResourceManager it takes the patience.
    """
    return {
        "yarn.resourcemanager.connect.max-wait.ms": str(patience_ms),
        "yarn.resourcemanager.connect.retry-interval.ms": str(max(1, patience_ms // 2)),
        "ipc.client.connect.max.retries.on.timeouts": "1",  # of 20 s each, where there is no host; the default is 45
    }
