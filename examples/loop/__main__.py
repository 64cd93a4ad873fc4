"""A day with one noisy tenant, limits from it, the next day under them, and back: everything that the loop does.

``python -m examples.loop [FOLDER]``; needs redis-server, and takes Envoy's rate limit service along where it is there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from examples.fresh_folder import fresh_folder
from examples.loop.story import tell
from peers.envoy_server import SERVICE
from peers.servers import running


def main() -> None:
    """Start the servers, tell the story, end the servers."""
    folder = fresh_folder(Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo-loop"))
    console = Console(highlight=False)
    if not SERVICE.exists():
        console.print("Envoy's rate limit service is not here (`make envoy` builds it, with Go): Redis alone")
    with running(folder, envoy=SERVICE.exists()) as servers:
        sys.exit(0 if tell(console, folder, servers) else 1)


if __name__ == "__main__":
    main()
