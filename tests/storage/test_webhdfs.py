"""The store on HDFS before servers that hang, and before some that are no HDFS; none of them is real."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from quotaloop.errors import ServiceUnreachable
from quotaloop.storage.hdfs import HdfsStore

PATIENCE_MS = 3_000
Answer = tuple[int, dict[str, str], bytes]

FILE = (200, {}, json.dumps({"FileStatus": {"type": "FILE", "length": 7, "modificationTime": 0}}).encode())


@contextmanager
def answering(answer: Callable[[str, dict[str, list[str]]], Answer]) -> Iterator[str]:
    """The address of a server: status, headers and body by path and query."""

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            asked = urlsplit(self.path)
            status, headers, body = answer(asked.path, parse_qs(asked.query))
            self.close_connection = True
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_DELETE = _reply  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def store_at(webhdfs: str, patience_ms: int = PATIENCE_MS) -> HdfsStore:
    return HdfsStore("one:8020", "/store", webhdfs=webhdfs, user="me", patience_ms=patience_ms)


def test_a_namenode_that_hangs_leaves_time_to_ask_another(hanging: str) -> None:
    with answering(lambda *_: FILE) as good:
        assert store_at(f"{hanging};{good}").exists("a")


def test_a_datanode_that_hangs_leaves_time_to_ask_another(hanging: str) -> None:
    def namenode(path: str, query: dict[str, list[str]]) -> Answer:
        if path == "/replica":
            return 200, {}, b"content"
        place = "/replica" if "excludedatanodes" in query else f"{hanging}/replica"
        return 307, {"Location": place}, b""

    with answering(namenode) as good:
        assert store_at(good).read("a") == b"content"


def test_an_answer_that_keeps_coming_may_take_longer_than_patience() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
                for letter in b"slowly":
                    time.sleep(0.3)
                    connection.sendall(bytes([letter]))

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert store_at(f"http://127.0.0.1:{listener.getsockname()[1]}", 1_000).read("a") == b"slowly"
        finally:
            thread.join()


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("said", ['{"status": "ok"}', "[]", "null", '{"RemoteException": 1}', "<html>", ""])
def test_another_service_is_told_from_hdfs(status: int, said: str) -> None:
    with answering(lambda *_: (status, {"Content-Type": "application/json"}, said.encode())) as other:
        store = store_at(other, 100)
        verbs: list[Callable[[], object]] = [
            lambda: store.exists("a"),
            lambda: store.files(""),
            lambda: store.write_if_absent("a", b""),
            lambda: store.replace("a", b""),
        ]
        for verb in verbs:
            with pytest.raises(ServiceUnreachable, match=rf"\A{other} does not answer as HDFS [^\n]*\Z"):
                verb()
