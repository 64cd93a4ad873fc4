"""Renames of a NameNode, each carried out once although its answer may get lost."""

from __future__ import annotations

import posixpath

from quotaloop.errors import QuotaloopError
from quotaloop.storage.webhdfs import MISSING, RemoteError, WebHdfs

_TURNS = 5  # of a rename whose folder vanishes again and again


def rename_if_absent(web: WebHdfs, source: str, target: str) -> bool:
    """Give a file that is this writer's alone its name, unless a file or folder has it: then False, and it stays."""
    return _rename(web, source, target, "NONE")


def rename_over(web: WebHdfs, source: str, target: str) -> None:
    """Put a file that is this writer's alone in the place of another one, or of none."""
    _rename(web, source, target, "OVERWRITE")


def is_there(web: WebHdfs, path: str) -> bool:
    """Is a file or folder of that name there?"""
    try:
        web.call("get_file_status", path, "FileStatus")
    except RemoteError as error:
        if error.kind == MISSING:
            return False
        raise
    return True


def _rename(web: WebHdfs, source: str, target: str, option: str) -> bool:
    """With an option, a NameNode never moves a file into a folder, and wants the folder above to be there.

    Where an answer got lost the source tells: it is gone just if our rename was carried out.
    """
    in_doubt = False
    for _ in range(_TURNS):
        try:
            web.call("rename", source, destination=target, renameoptions=option)
            return True
        except RemoteError as error:
            in_doubt = in_doubt or error.in_doubt
            if not is_there(web, source):
                if in_doubt:
                    return True
                raise QuotaloopError(f"{source} is gone; it was to be renamed to {target}") from error
            if error.kind != MISSING:
                if option == "NONE" and is_there(web, target):
                    return False
                raise
            web.call("mkdirs", posixpath.dirname(target))
    raise QuotaloopError(f"the folder of {target} was removed {_TURNS} times before a file was in it; run it again")
