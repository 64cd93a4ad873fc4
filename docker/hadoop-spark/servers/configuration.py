"""The settings files of `conf/` with one cluster's hosts, ports and folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from servers.failure import Failure
from servers.layout import CONF, Cluster

_OPEN = re.compile(r"\$\{env\.(\w+)\}")


def write(cluster: Cluster) -> None:
    """Fill `conf/` in and write it into the cluster's folder; servers and clients read it there."""
    values = cluster.values()
    for source in sorted(CONF.glob("*/*")):
        target = cluster.conf / source.relative_to(CONF)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = filled(source.read_text(encoding="utf-8"), values, source)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")


def filled(text: str, values: Mapping[str, str], source: Path) -> str:
    """``${env.NAME}`` replaced by its value, as the kind of file escapes it; raises for a name without one."""
    escaped: Callable[[str], str] = escape if source.suffix == ".xml" else lambda value: value.replace("\\", "\\\\")

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise Failure(f"{source}: nothing is called {match[1]}")
        return escaped(values[match[1]])

    return _OPEN.sub(value, text)
