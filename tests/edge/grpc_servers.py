"""The same methods of gRPC on servers of both kinds, of coroutines and of threads, and a client of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import grpc
from grpc import StatusCode

from quotaloop.edge import aio_grpc, current, thread_grpc
from tests.edge.metering import Metering

SERVICE = "quotaloop.v1.Chat"
ACME = (("authorization", "Bearer acme-key"),)


class Stops(Protocol):
    """A server, as far as a test has to do with it."""

    async def stop(self, grace: float | None) -> Any:
        """Cut all calls and end."""
        ...


Serving = Callable[[Metering, str], AbstractAsyncContextManager[tuple[Stops, int]]]  # and the port
Work = Callable[[Any, grpc.aio.Channel], Awaitable[Any]]


class Run(Protocol):
    """Serves while a client works."""

    def __call__(self, made: Metering, work: Work, service: str = ...) -> Any:
        """What the client came to."""
        ...


def run_on(serving: Serving, made: Metering, work: Work, service: str = SERVICE) -> Any:
    """Serve this service, metered, while a client works."""

    async def main() -> Any:
        async with (
            serving(made, service) as (server, port),
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            return await work(server, channel)

    return asyncio.run(main())


async def _tokens(request: bytes, _: Any) -> AsyncIterator[bytes]:
    """A token a byte; ``!`` raises, ``?`` waits for ever."""
    for byte in request:
        if byte == ord("!"):
            raise RuntimeError("broken")
        if byte == ord("?"):
            await asyncio.Event().wait()
        current().output_tokens += 1
        yield bytes([byte])


async def _written(request: bytes, context: Any) -> None:
    for byte in request:
        await context.write(bytes([byte]))


async def _single(request: bytes, context: Any) -> bytes:
    if request == b"missing":
        await context.abort(StatusCode.NOT_FOUND, "no such thing")
    current().input_tokens = len(request)
    return request * 2


async def _joined(requests: AsyncIterator[bytes], _: Any) -> bytes:
    return b"".join([part async for part in requests])


async def _each(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
    async for part in requests:
        yield part * 2


def _tokens_blocking(request: bytes, context: Any) -> Iterator[bytes]:
    """A token a byte; ``!`` raises, ``?`` waits until the call is no more, and does not care."""
    for byte in request:
        if byte == ord("!"):
            raise RuntimeError("broken")
        if byte == ord("?"):
            wait_for_end(context)
        current().output_tokens += 1
        yield bytes([byte])


def _written_blocking(request: bytes, _: Any) -> Iterator[bytes]:
    """No generator, as replies that are all there may be."""
    return iter([bytes([byte]) for byte in request])


def _single_blocking(request: bytes, context: Any) -> bytes:
    if request == b"missing":
        context.abort(StatusCode.NOT_FOUND, "no such thing")
    current().input_tokens = len(request)
    return request * 2


def _joined_blocking(requests: Iterator[bytes], _: Any) -> bytes:
    return b"".join(requests)


def _each_blocking(requests: Iterator[bytes], _: Any) -> Iterator[bytes]:
    for part in requests:
        yield part * 2


def wait_for_end(context: Any) -> None:
    """Wait, in a handler, until its call has ended, and who had asked to be told before has been told."""
    ended = threading.Event()
    if context.add_callback(ended.set):
        assert ended.wait(20)


def _without(mark: bytes) -> Callable[[bytes], bytes]:
    """A conversion that fails where this is in a message."""

    def converted(message: bytes) -> bytes:
        if mark in message:
            raise ValueError(f"there is {mark!r} in it")
        return message

    return converted


def _methods(tokens: Any, written: Any, single: Any, joined: Any, each: Any) -> dict[str, Any]:
    return {
        "Tokens": grpc.unary_stream_rpc_method_handler(tokens),
        "Written": grpc.unary_stream_rpc_method_handler(written),
        "Single": grpc.unary_unary_rpc_method_handler(single),
        "Joined": grpc.stream_unary_rpc_method_handler(joined),
        "Each": grpc.stream_stream_rpc_method_handler(each, _without(b"#"), _without(b"~")),
    }


@asynccontextmanager
async def _of_coroutines(made: Metering, service: str) -> AsyncIterator[tuple[Stops, int]]:
    server = grpc.aio.server(interceptors=[aio_grpc.MeteredInterceptor(made.edge)])
    methods = _methods(_tokens, _written, _single, _joined, _each)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield server, port
    finally:
        await server.stop(None)


class _OfThreads:
    def __init__(self, server: grpc.Server) -> None:
        self._server = server

    async def stop(self, grace: float | None) -> None:
        await asyncio.to_thread(self._server.stop, grace)


@asynccontextmanager
async def _of_threads(made: Metering, service: str) -> AsyncIterator[tuple[Stops, int]]:
    methods = _methods(_tokens_blocking, _written_blocking, _single_blocking, _joined_blocking, _each_blocking)
    pool = ThreadPoolExecutor(8)
    server, port = threads_server(made, methods, pool, service=service)
    try:
        yield _OfThreads(server), port
    finally:
        await _OfThreads(server).stop(None)
        await asyncio.to_thread(pool.shutdown)  # no handler is at work


def threads_server(
    made: Metering, methods: dict[str, Any], pool: ThreadPoolExecutor, *around: Any, service: str = SERVICE
) -> tuple[grpc.Server, int]:
    """A metered server of threads, with other interceptors around the one that meters, and its port."""
    server = grpc.server(pool, interceptors=[*around, thread_grpc.MeteredInterceptor(made.edge)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


SERVERS: dict[str, Serving] = {"aio": _of_coroutines, "threads": _of_threads}
