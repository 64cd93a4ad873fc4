"""The part of LiteLLM's management API that the sink uses, over keys and teams in memory.

What it does was read from LiteLLM 1.106, ``proxy/management_endpoints``: an update changes the fields that are sent;
``metadata`` replaces what was there; limits of models beside it are put into it, null changes nothing; unknown fields
are ignored; a key that was deleted is still answered, from an archive.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ADMIN = "sk-admin-of-tests"
_MODELS = ("model_rpm_limit", "model_tpm_limit")
_COLUMNS = {"rpm_limit", "tpm_limit", "max_parallel_requests"}  # of those that it keeps, what the sink may write
_FIELDS = {"key", "team_id", "metadata", *_COLUMNS, *_MODELS}


class LiteLLM:
    """Keys by hash and teams by id; ``bodies`` are the updates that were taken, in order.

    ``dies_after``: so many updates are answered, then every call is cut off without an answer.
    """

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self.paths: list[str] = []
        self.dies_after: int | None = None
        self.status: int | None = None  # of all answers
        self.url = ""

    def add(self, name: str, **row: Any) -> None:
        """A key (by its hash) or a team."""
        self.rows[name] = {"rpm_limit": None, "tpm_limit": None, "max_parallel_requests": None, "metadata": {}, **row}

    @property
    def is_dead(self) -> bool:
        return self.dies_after is not None and len(self.bodies) >= self.dies_after

    def answer(self, method: str, url: str, key: str | None, body: bytes) -> tuple[int, dict[str, Any]]:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        self.paths.append(url)
        if self.status is not None:
            return self.status, {"error": {"message": f"about {key} and {url}"}}
        if key != f"Bearer {ADMIN}":
            return 401, {"error": {"message": f"Authentication Error, {key}"}}
        if method == "GET" and parts.path in ("/key/info", "/team/info"):
            what, name = ("info", query["key"]) if parts.path == "/key/info" else ("team_info", query["team_id"])
            return (200, {what: self.rows[name]}) if name in self.rows else (404, {"error": {"message": "not found"}})
        if method == "POST" and parts.path in ("/key/update", "/team/update"):
            return self._update(parts.path, json.loads(body))
        return 404, {"detail": "Not Found"}

    def _update(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        name = body.get("key" if path == "/key/update" else "team_id")
        if name not in self.rows:
            return 404, {"error": {"message": f"{name} not found"}}
        if problem := invalid(body):
            return 422, {"detail": problem}
        row = self.rows[name]
        if "metadata" in body:
            row["metadata"] = dict(body["metadata"] or {})
        row["metadata"] |= {field: body[field] for field in _MODELS if body.get(field) is not None}
        row.update({field: value for field, value in body.items() if field in _COLUMNS})
        self.bodies.append((path, body))
        return 200, {}


def invalid(body: dict[str, Any]) -> str | None:
    """What is wrong with an update, also where LiteLLM takes it: numbers that no column holds, unknown fields."""
    if unknown := body.keys() - _FIELDS:
        return f"unknown: {unknown}"
    for field in _COLUMNS & body.keys():
        greatest = 2**31 if field == "max_parallel_requests" else 2**63
        if type(body[field]) is not int or not 0 <= body[field] < greatest:
            return field
    models = [limits for field in _MODELS for limits in (body.get(field), (body.get("metadata") or {}).get(field))]
    for limits in models:
        if limits is not None and not all(type(number) is int and 0 <= number < 2**63 for number in limits.values()):
            return "limits of models"
    return None


@contextmanager
def served(api: LiteLLM) -> Iterator[LiteLLM]:
    """On a port of this machine; ``api.url`` is its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET", b"")

        def do_POST(self) -> None:
            self._answer("POST", self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, method: str, body: bytes) -> None:
            if api.is_dead:
                self.close_connection = True
                return
            status, answer = api.answer(method, self.path, self.headers["Authorization"], body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Location", "/elsewhere")  # of a redirection
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
