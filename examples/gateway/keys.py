"""API keys: the file holds salted hashes; a key is told once, when it is made."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from quotaloop.edge import Arrival, Identity
from quotaloop.errors import InputUnreadable, UsageError

_KEY = re.compile(r"ql_([0-9a-f]{12})_([0-9a-f]{40})")
_BEARER = "bearer "
_TENANT = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
_Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})+\Z", max_length=64)]
_Salt = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """A key as it is kept: ``hash`` is the BLAKE2b of its secret under ``salt``, both in hex.

    The secret is 160 random bits, not a password: a hash that is quick to compute gives nothing away.
    """

    key_id: _Hex
    tenant: Annotated[str, Meta(pattern=_TENANT)]
    salt: _Salt
    hash: _Hex


# What an unknown id is compared with; there is no secret with such a hash that anyone could find.
_NOBODY = Entry(key_id="", tenant="", salt="0" * 32, hash="0" * 64)


class Keys:
    """Finds whose a key is; a key that is not known takes as long as one that is."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = {entry.key_id: entry for entry in entries}

    def identify(self, arrival: Arrival) -> Identity | None:
        """Whose request it is by its ``Authorization: Bearer KEY``; None for nobody's."""
        said = arrival.header(b"authorization") or ""
        return self.find(said[len(_BEARER) :].strip()) if said[: len(_BEARER)].lower() == _BEARER else None

    def find(self, key: str) -> Identity | None:
        """Whose key it is; its id leads to one entry, and the secret is compared in constant time."""
        if (match := _KEY.fullmatch(key)) is None:
            return None
        entry = self._entries.get(match[1], _NOBODY)
        is_right = hmac.compare_digest(_hash(match[2], entry.salt), entry.hash)
        return Identity(entry.tenant, entry.key_id) if is_right else None


def read(path: Path) -> list[Entry]:
    """The entries of a keys file; raises ``InputUnreadable`` for one that is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Entry])
    except (OSError, msgspec.MsgspecError) as error:
        raise InputUnreadable(f"{path} is no file of keys: {error}") from error


def make_keys(path: Path, tenants: Sequence[str]) -> dict[str, str]:
    """Add a key for each tenant to a file, made where it is missing; returns the keys by tenant, which are not kept.

    Raises ``UsageError`` for a name that no event may have.
    """
    if wrong := [tenant for tenant in tenants if not re.match(_TENANT, tenant)]:
        raise UsageError(f"{wrong[0]!r} is no name of a tenant: letters, digits and . _ - are, at most 64")
    entries = read(path) if path.exists() else []
    made: dict[str, str] = {}
    for tenant in tenants:
        key_id, secret, salt = secrets.token_hex(6), secrets.token_hex(20), secrets.token_hex(16)
        entries.append(Entry(key_id=key_id, tenant=tenant, salt=salt, hash=_hash(secret, salt)))
        made[tenant] = f"ql_{key_id}_{secret}"
    whole = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    whole.write_bytes(msgspec.json.format(msgspec.json.encode(entries), indent=1) + b"\n")
    whole.replace(path)
    return made


def _hash(secret: str, salt: str) -> str:
    return blake2b(secret.encode(), salt=bytes.fromhex(salt), digest_size=32).hexdigest()
