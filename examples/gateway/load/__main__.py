"""Put load on a gateway, and say what came of it.

``python -m examples.gateway.load --url http://127.0.0.1:8000 --grpc 127.0.0.1:50051 --h2 http://127.0.0.1:8001
--keys FILE --seconds 10 --rate acme=50 --rate globex=5 --protocols http,sse,websocket --seed 7 [--json]``

FILE is what ``python -m examples.gateway keys`` prints, a tenant and its plain key a line, or a JSON object of them,
``{"acme": "ql_...", "globex": "ql_..."}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from examples.gateway.clients import upload
from examples.gateway.load.caller import Caller, Target
from examples.gateway.load.plan import PROTOCOLS, Call, Tenant, plan
from examples.gateway.load.report import report, shown
from examples.gateway.load.run import run
from quotaloop.errors import InputUnreadable, QuotaloopError, UsageError


def main() -> None:
    """Plan, run, tell."""
    said = _parser().parse_args()
    try:
        keys = _keys(Path(said.keys))
        tenants = _tenants(said)
        if unknown := sorted({tenant.name for tenant in tenants} - keys.keys()):
            raise UsageError(f"{said.keys} has no key of {unknown[0]}")
        calls = plan(said.seed, tenants, said.seconds)
        document = asyncio.run(_loaded(said, calls, keys))
    except QuotaloopError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    if said.json:
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        Console(highlight=False).print(shown(document))


async def _loaded(said: argparse.Namespace, calls: list[Call], keys: dict[str, str]) -> dict[str, Any]:
    target = Target(said.url, said.h2 or said.url, said.grpc)
    protocols = {(call.tenant, call.protocol) for call in calls}
    if any(protocol == "multipart" for _, protocol in protocols):
        upload.picture(0)  # reads the data set before the clock runs
    async with AsyncExitStack() as stack:
        callers = {
            tenant: await stack.enter_async_context(Caller(target, keys[tenant], sockets=said.sockets))
            for tenant in {call.tenant for call in calls}
        }
        for tenant, protocol in sorted(protocols):
            if protocol == "webrtc":
                await callers[tenant].warm()
        attempts = await run(
            calls, lambda call: callers[call.tenant].call(call), most_open=said.most_open, patience_s=said.patience
        )
        signalling = {tenant: caller.signalling for tenant, caller in callers.items()}
        return report(attempts, signalling, [wait_s for caller in callers.values() for wait_s in caller.waits_s])


def _tenants(said: argparse.Namespace) -> list[Tenant]:
    bursts = {name: int(number) for name, number in said.burst}
    return [
        Tenant(
            name=name,
            rate=number,
            burst=bursts.get(name, 1),
            protocols=tuple(said.protocols.split(",")),
            words=said.words,
            max_tokens=said.max_tokens,
            leaves=said.leaves,
        )
        for name, number in said.rate
    ]


def _keys(path: Path) -> dict[str, str]:
    """Raises ``InputUnreadable``, without what the file holds."""
    try:
        text = path.read_text()
        keys = json.loads(text) if text.lstrip().startswith("{") else dict(line.split() for line in text.splitlines())
    except (OSError, ValueError) as error:
        raise InputUnreadable(
            f"{path} holds neither JSON nor lines of tenant and key: {type(error).__name__}"
        ) from error
    if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys.values()):
        raise InputUnreadable(f"{path} does not name tenants and their keys")
    return keys


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.gateway.load", description="Load on a gateway.")
    parser.add_argument("--url", required=True, help="of HTTP/1.1, for example http://127.0.0.1:8000")
    parser.add_argument("--h2", default="", help="of cleartext HTTP/2; else that of HTTP/1.1")
    parser.add_argument("--grpc", default="127.0.0.1:50051", help="host:port")
    parser.add_argument(
        "--keys", required=True, help="what the command keys prints, or a JSON object: tenant to plain key"
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=_pair, action="append", required=True, help="TENANT=CALLS a second; repeatable")
    parser.add_argument("--burst", type=_pair, action="append", default=[], help="TENANT=CALLS at once; repeatable")
    parser.add_argument("--protocols", default=",".join(PROTOCOLS))
    parser.add_argument("--words", type=int, default=20, help="mean size of a prompt")
    parser.add_argument("--max-tokens", type=int, default=64, help="most of an answer")
    parser.add_argument("--leaves", type=float, default=0.0, help="share of streams left in the middle, 0 to 1")
    parser.add_argument("--most-open", type=int, default=1_000, help="calls open at once; what waits for it is told")
    parser.add_argument("--sockets", type=int, default=8, help="WebSockets of a tenant and version")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds for the last answers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    return parser


def _pair(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    return name, float(number)


if __name__ == "__main__":
    main()
