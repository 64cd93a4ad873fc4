"""What a measurement ran on; nothing by which one machine could be told from another of its kind."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = ("pyspark", "mrjob", "duckdb", "pyarrow", "msgspec")


def machine() -> dict[str, Any]:
    """Processor, cores that may be used, memory."""
    info = Path("/proc/cpuinfo").read_text("utf-8")
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": " ".join((model[1] if model else platform.machine()).split()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Versions of what was measured and measured against."""
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    java = re.search(r'version "([^"]+)"', said)
    found = {"python": platform.python_version(), "java": java[1] if java else "unknown"}
    return found | {name: version(name) for name in _PACKAGES}
