"""Requests to WebHDFS: each with a time limit, tried again for a while, its failure told in one line."""

from __future__ import annotations

import http.client
import itertools
import logging
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import requests
import urllib3
from hdfs import HdfsError, InsecureClient
from requests.adapters import HTTPAdapter

from quotaloop.errors import QuotaloopError, ServiceUnreachable

MISSING = "FileNotFoundException"  # the kind of error for a path that is not there

Result = TypeVar("Result")

_CONNECT_S = 5.0
_LEAST_S = 1.0  # to wait for an answer, however impatient
_TURNS = 3  # patience lasts for so many servers that hang
_LONGEST_PAUSE_S = 2.0
_CONNECTIONS = 16  # kept open to one NameNode; a DataNode closes its own after each answer
# What a NameNode or DataNode says when it, or another that it needs, is not up yet or no longer.
_PASSING = {"SafeModeException", "StandbyException", "RetriableException", "NotReplicatedYetException"}
_PASSING |= {"BlockMissingException", "ConnectException", "EOFException", "ClosedChannelException"}
_PASSING_WORDS = ("Failed to find datanode", "No active nodes contain this block", "could only be written to 0 of")

logging.getLogger("hdfs").addHandler(logging.NullHandler())  # what it has to say is in our errors


class RemoteError(QuotaloopError):
    """HDFS did answer, and it said no: ``kind`` is the class of its exception.

    ``in_doubt``: an attempt before this one was not answered, and may have been carried out.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.in_doubt = False


class Unavailable(Exception):
    """One attempt failed in a way that may pass; ``answered`` where the server said so itself."""

    def __init__(self, message: str, *, answered: bool, datanode: str | None) -> None:
        super().__init__(message)
        self.answered = answered
        self.datanode = datanode


class Client(InsecureClient):  # type: ignore[misc]
    """The library's client, without its patterns: a path is a path."""

    def resolve(self, hdfs_path: str) -> str:
        """The path itself, which is whole and clean."""
        return hdfs_path


class WebHdfs:
    """One HDFS as one user; ``addresses`` are those of its NameNodes, with ``;`` between them."""

    def __init__(self, addresses: str, user: str, patience_ms: int) -> None:
        self.user = user
        self.patience_s = patience_ms / 1000
        # To connect, and for the next bytes to come: where they do not, another server is asked.
        self.timeouts = (min(_CONNECT_S, self._wait_s()), self._wait_s(_TURNS))
        # Of a stream that nobody can take up again.
        self.only_timeouts = (self.timeouts[0], self._wait_s())
        session = requests.Session()
        session.trust_env = False  # a cluster is not behind a proxy, and its password is in no .netrc
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
        urls = [url for url in addresses.split(";") if url]
        self._clients = [Client(url, user=user, timeout=self.timeouts, session=session) for url in urls]
        self._active = 0

    def call(self, operation: str, path: str, *names: str, **parameters: Any) -> Any:
        """What a NameNode's answer to an operation holds under ``names``, one within the other; None if it is empty.

        Tried again for as long as patience lasts. Raises ``RemoteError`` and ``ServiceUnreachable``.
        """

        def attempt(client: Client, _: set[str]) -> Any:
            answer = getattr(client, f"_{operation}")(path, **parameters)
            found: Any = answer.json() if answer.content or names else None
            for name in names:
                found = found[name]
            return found

        return self.patiently(f"{operation} {path}", attempt)

    def patiently(
        self, doing: str, attempt: Callable[[Client, set[str]], Result], failed: Collection[str] = ()
    ) -> Result:
        """What ``attempt`` makes of a client and of the DataNodes to keep away from, at first ``failed``."""
        deadline = time.monotonic() + self.patience_s
        in_doubt, failed = False, set(failed)
        for pause in _pauses():
            client = self._clients[self._active % len(self._clients)]
            try:
                with translated(client.url, doing):
                    return attempt(client, failed)
            except RemoteError as error:
                error.in_doubt = in_doubt
                raise
            except Unavailable as error:
                in_doubt = in_doubt or not error.answered
                if error.datanode:
                    failed.add(error.datanode)
                else:
                    failed.clear()
                    self._active += 1
                if time.monotonic() + pause >= deadline:
                    tried = f"tried for {self.patience_s:g} s, see setting patience"
                    raise ServiceUnreachable(f"{error} ({tried})") from error
            time.sleep(pause)
        raise AssertionError

    def _wait_s(self, turns: int = 1) -> float:
        return max(self.patience_s / turns, _LEAST_S)


def keeping_away(failed: set[str]) -> dict[str, str]:
    """The parameter that asks a NameNode for other DataNodes than these."""
    return {"excludedatanodes": ",".join(sorted(failed))} if failed else {}


@contextmanager
def translated(address: str, doing: str, *, datanode: bool = False) -> Iterator[None]:
    """What goes wrong in one attempt at a server, as ``RemoteError`` or ``Unavailable``."""
    try:
        yield
    except HdfsError as error:
        raise _refused(_server(urlsplit(address)), doing, error) from error
    except (KeyError, TypeError, requests.JSONDecodeError) as error:  # by the library or by us, reading an answer
        raise _foreign(_server(urlsplit(address)), doing) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        asked = urlsplit(getattr(getattr(error, "request", None), "url", None) or address)
        redirected = datanode or asked.netloc != urlsplit(address).netloc
        said = _silent(_server(asked), doing, error, datanode=redirected)
        raise Unavailable(said, answered=False, datanode=_ip(asked.hostname) if redirected else None) from error


def _silent(where: str, doing: str, error: BaseException, *, datanode: bool) -> str:
    if datanode:
        return f"the DataNode {where} does not answer ({doing}: {_cause(error)}); is it up, and reachable from here?"
    return (
        f"HDFS at {where} does not answer ({doing}: {_cause(error)}); "
        "is the NameNode up, and is setting webhdfs the address of its web server?"
    )


def _refused(address: str, doing: str, error: HdfsError) -> Exception:
    message = error.message.decode("utf-8", "replace") if isinstance(error.message, bytes) else str(error.message)
    said = " ".join(message.split("\n\tat ")[0].split()) or "no reason given"
    kind = error.exception or ""
    if kind == "SafeModeException" or "is in safe mode" in said:
        advice = "; wait until its DataNodes have reported, or look at `hdfs dfsadmin -safemode get`"
        return Unavailable(f"HDFS at {address} is in safe mode ({doing}){advice}", answered=True, datanode=None)
    if kind in _PASSING or any(words in said for words in _PASSING_WORDS):
        return Unavailable(f"HDFS at {address} cannot do it now ({doing}): {said}", answered=True, datanode=None)
    if not kind and not said.startswith("Authentication"):  # a page of a web server, not an answer of HDFS
        return _foreign(address, doing)
    advice = "; see setting hdfs_user" if kind == "AccessControlException" else ""
    return RemoteError(f"HDFS at {address} refused ({doing}): {said}{advice}", kind)


def _foreign(address: str, doing: str) -> Unavailable:
    advice = "is setting webhdfs the address of the NameNode's web server?"
    return Unavailable(f"{address} does not answer as HDFS ({doing}); {advice}", answered=False, datanode=None)


def _cause(error: BaseException) -> str:
    """The innermost reason in a few words."""
    if isinstance(error, requests.Timeout | TimeoutError | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    inner: BaseException | None = error
    found = ""
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            found = inner.strerror.lower()
        inner = inner.__cause__ or inner.__context__
    return found or type(error).__name__


def _server(url: SplitResult) -> str:
    return f"{url.scheme}://{url.netloc}"


def _ip(host: str | None) -> str | None:
    """How a NameNode knows a DataNode."""
    try:
        return socket.gethostbyname(host) if host else None
    except OSError:
        return host


def _pauses() -> Iterator[float]:
    return (min(0.05 * 2**turn, _LONGEST_PAUSE_S) for turn in itertools.count())
