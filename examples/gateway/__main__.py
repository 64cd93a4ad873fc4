"""``python -m examples.gateway serve``, ``keys`` and ``digit``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from dataclasses import fields
from pathlib import Path

from examples.gateway.keys import make_keys
from examples.gateway.settings import Settings, load
from quotaloop.errors import QuotaloopError


def main(words: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    asked = _parser().parse_args(words)
    try:
        code: int = asked.run(asked)
    except QuotaloopError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"{error.strerror}: {error.filename or 'a port that is asked for'}\n")
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.gateway", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve until SIGTERM; settings also by GATEWAY_<NAME>")
    for one in fields(Settings):
        serve.add_argument(f"--{one.name.replace('_', '-')}", dest=one.name, help=f"default: {one.default!r}")
    serve.set_defaults(run=_serve)
    keys = commands.add_parser("keys", help="make an API key for each tenant; they are printed once, and not kept")
    keys.add_argument("--tenants", required=True, help="names, with commas between them")
    keys.add_argument("--out", required=True, type=Path, help="file of hashes; keys in it stay")
    keys.set_defaults(run=_keys)
    digit = commands.add_parser("digit", help="write a picture of a digit, of those not trained on, as PNG")
    digit.add_argument("--digit", type=int, choices=range(10), default=7)
    digit.add_argument("--out", required=True, type=Path)
    digit.set_defaults(run=_digit)
    return parser


def _serve(asked: argparse.Namespace) -> int:
    from examples.gateway.serve import serve

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    said = {one.name: value for one in fields(Settings) if (value := getattr(asked, one.name)) is not None}
    asyncio.run(serve(load(said)))
    return 0


def _keys(asked: argparse.Namespace) -> int:
    for tenant, key in make_keys(asked.out, asked.tenants.split(",")).items():
        sys.stdout.write(f"{tenant} {key}\n")
    return 0


def _digit(asked: argparse.Namespace) -> int:
    from examples.gateway.models.classifier import unseen
    from examples.gateway.models.pictures import png

    asked.out.write_bytes(png(unseen(asked.digit)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
