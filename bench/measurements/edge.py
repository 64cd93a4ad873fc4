"""What the edge costs the example gateway: requests a second of one process at its limit, and p99 below it.

Both sides answer the same requests, conversations of 64 tokens, as JSON and streamed; the load is made in this process.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.data import ROOT, Data
from bench.meter import Usage
from bench.pairs import Spread, in_turn, ratio, typical
from bench.process_tree import _read
from bench.results import Row

_WARM, _AT_LIMIT, _BELOW = 500, 4_000, 2_000  # requests
_STREAMED = 1_000
_CONNECTIONS = 8
_RATE = 100  # a second, below the limit
_WORK = "the gateway with the edge, one process, conversations of 64 tokens"
_ASKED = {"messages": [{"role": "user", "content": "what is a mapping"}], "max_tokens": 64, "seed": 7}


def _request(**more: object) -> bytes:
    body = json.dumps({**_ASKED, **more}).encode()
    return (
        b"POST /api/v2/conversation HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer bench\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    )


_WHOLE, _STREAM = _request(), _request(stream=True)


@dataclass(frozen=True, slots=True)
class _Server:
    port: int
    pid: int


def measure(data: Data, rounds: int) -> list[Row]:
    """CPU of the server a request, with the edge over without; and the p99 that it adds, in milliseconds."""
    with data.scratch() as folder, _serving("metered", folder) as metered, _serving("bare", folder) as bare:
        for server in (metered, bare):
            asyncio.run(_at_limit(server, _WHOLE, _WARM))
        rows = [
            _cpu("edge", "as JSON", _WHOLE, _AT_LIMIT, metered, bare, rounds),
            _cpu("edge-stream", "streamed", _STREAM, _STREAMED, metered, bare, rounds),
        ]
        pairs = [[_p99_ms(server) for server in (metered, bare)] for _ in range(rounds)]
    return [
        *rows,
        Row(
            name="edge-p99",
            work=f"{_WORK} as JSON: p99 beyond that without it, {_RATE} requests a second",
            yardstick_work="",
            lines=_BELOW,
            ours=Usage(0.0, median(pair[0] for pair in pairs) / 1_000, 0),
            yardstick=None,
            value=Spread.of([mine - other for mine, other in pairs]),
            unit="ms",
            wall_ratio=None,
            target=1.0,
        ),
    ]


def _cpu(name: str, how: str, request: bytes, count: int, metered: _Server, bare: _Server, rounds: int) -> Row:
    ours, theirs = in_turn([lambda: _used(metered, request, count), lambda: _used(bare, request, count)], rounds)
    return Row(
        name=name,
        work=f"{_WORK} {how}",
        yardstick_work="the same without it",
        lines=count,
        ours=typical(ours),
        yardstick=typical(theirs),
        value=ratio([used.cpu_s for used in ours], [used.cpu_s for used in theirs]),
        unit="x",
        wall_ratio=ratio([used.wall_s for used in ours], [used.wall_s for used in theirs]),
        target=1 / 0.95,
    )


@contextmanager
def _serving(kind: str, folder: Path) -> Iterator[_Server]:
    place = folder / kind
    place.mkdir()
    command = [sys.executable, "-m", "bench.edge_server", kind, str(place)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield _Server(int(server.stdout.readline()), server.pid)
    finally:
        server.stdin.close()
        server.wait()


def _used(server: _Server, request: bytes, count: int) -> Usage:
    before, began_s = _read(server.pid), time.monotonic()
    asyncio.run(_at_limit(server, request, count))
    after = _read(server.pid)
    return Usage(after.cpu - before.cpu, time.monotonic() - began_s, after.resident)


async def _at_limit(server: _Server, request: bytes, count: int) -> None:
    """So many requests over a few connections, each as soon as the one before it is answered."""
    left = iter(range(count))

    async def ask_on() -> None:
        async with _Connection(server.port) as connection:
            for _ in left:
                await connection.ask(request)

    await asyncio.gather(*(ask_on() for _ in range(_CONNECTIONS)))


def _p99_ms(server: _Server) -> float:
    taken = sorted(asyncio.run(_below(server)))
    return taken[-(-len(taken) * 99 // 100) - 1] * 1_000


async def _below(server: _Server) -> list[float]:
    """Seconds from each request's own time to the end of its answer, at a steady rate."""
    loop = asyncio.get_running_loop()
    start = loop.time() + 0.1
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    opened = [_Connection(server.port) for _ in range(4 * _CONNECTIONS)]

    async def ask(due: float) -> float:
        connection = await free.get()
        await connection.ask(_WHOLE)
        free.put_nowait(connection)
        return loop.time() - due

    tasks = []
    for connection in opened:
        free.put_nowait(await connection.__aenter__())
    for number in range(_BELOW):
        due = start + number / _RATE
        await asyncio.sleep(max(due - loop.time(), 0))
        tasks.append(asyncio.create_task(ask(due)))
    found = await asyncio.gather(*tasks)
    for connection in opened:
        await connection.__aexit__()
    return list(found)


class _Connection:
    """HTTP/1.1 as plainly as can be, so that the load costs little."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> _Connection:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(self, request: bytes) -> None:
        """One request, to the end of its answer; raises where it is not answered with 200."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode("latin-1"))
        lines = head.lower().split(b"\r\n")
        sizes = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
        if sizes:
            await self._reader.readexactly(sizes[0])
        else:
            await self._reader.readuntil(b"\r\n0\r\n\r\n")
