"""Stores on the tests' own HDFS, and a NameNode that is badly connected."""

from __future__ import annotations

import http.client
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from quotaloop.storage.address import open_store
from quotaloop.storage.hdfs import HdfsStore
from tests.servers import Cluster


def hdfs_store(
    cluster: Cluster, *, url: str = "", webhdfs: str = "", user: str = "", patience_ms: int = 20_000
) -> HdfsStore:
    """A store in a new folder, or at a URL."""
    environment = cluster.environment
    store = open_store(
        url or f"{environment['HDFS_URL']}/tests/{uuid.uuid4().hex}/a%20store",
        webhdfs=webhdfs or environment["QUOTALOOP_WEBHDFS"],
        user=user,
        patience_ms=patience_ms,
    )
    assert isinstance(store, HdfsStore)
    return store


class Connection:
    """Between clients and a NameNode: requests of an operation can be lost, or their answers."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.before: dict[str, Callable[[], object]] = {}
        self.after: dict[str, Callable[[], object]] = {}

    def lose_request(self, operation: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """The next request of an operation does not arrive; meanwhile something else happens."""
        self.before[operation] = meanwhile

    def lose_answer(self, operation: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """The next request of an operation is carried out, and then something else; nobody hears of it."""
        self.after[operation] = meanwhile


@contextmanager
def badly_connected(webhdfs: str) -> Iterator[Connection]:
    """A connection to a NameNode, good until it is told to lose something."""
    target = urlsplit(webhdfs).netloc

    class Relay(BaseHTTPRequestHandler):
        def _relay(self) -> None:
            operation = parse_qs(urlsplit(self.path).query)["op"][0]
            self.close_connection = True
            if happens := connection.before.pop(operation, None):
                happens()
                return
            onward = http.client.HTTPConnection(target, timeout=30)
            onward.request(self.command, self.path)
            answer = onward.getresponse()
            body = answer.read()
            onward.close()
            if happens := connection.after.pop(operation, None):
                happens()
                return
            self.send_response(answer.status)
            for name in ("Location", "Content-Type"):
                if value := answer.getheader(name):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_DELETE = _relay  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    connection = Connection(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield connection
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
