"""The jars of the servers, by Maven from the poms; fetched once, and again when a pom changes."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

from servers import processes
from servers.failure import Failure
from servers.layout import HOME

SETS = ("kafka", "hadoop")
JARS = HOME / "jars"


def fetch(*sets: str) -> None:
    """See that the jars of these sets lie in ``jars/`` as their poms say; refused while somebody runs from others."""
    JARS.mkdir(exist_ok=True)
    with (JARS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in sets:
            stamp = JARS / f"{name}.sha256"
            digest = hashlib.sha256(_pom(name).read_bytes()).hexdigest()
            if not stamp.exists() or stamp.read_text(encoding="utf-8") != digest:
                if (user := processes.user_of(f"{JARS / name}/*")) is not None:
                    raise Failure(f"{_pom(name)} has changed, and process {user} runs from its jars: `down` first")
                stamp.unlink(missing_ok=True)
                _copy(name)
                stamp.write_text(digest, encoding="utf-8")


def streaming_jar() -> Path:
    """The jar that mrjob submits, whether it is fetched by now or not."""
    version = ElementTree.parse(_pom("hadoop")).findtext("{*}properties/{*}hadoop.version")
    return JARS / "hadoop" / f"hadoop-streaming-{version}.jar"


def _pom(name: str) -> Path:
    return HOME / name / "pom.xml"


def _copy(name: str) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Failure("the servers' jars come by Maven, and there is no mvn (Debian: apt-get install maven)")
    target = JARS / name
    shutil.rmtree(target, ignore_errors=True)
    command = [maven, "-B", "-q", "-f", str(_pom(name)), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"mvn did not fetch the jars of {_pom(name)}:\n{(done.stdout + done.stderr)[-2000:]}")
