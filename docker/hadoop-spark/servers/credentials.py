"""The certificate of the broker, the authority that signed it, and the password of the one user."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from servers.failure import Failure
from servers.layout import Cluster

USER = "quotaloop"
_DAYS = 3650
_NEW_KEY = "-newkey rsa:2048 -nodes"


def make(cluster: Cluster) -> None:
    """Make what is not there yet: ``ca.pem`` and ``password`` for clients, ``kafka-tls/server.pem`` for the broker."""
    for folder in (cluster.kafka_client, _tls(cluster)):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (cluster.kafka_client / "password").exists():
        _write_secret(cluster.kafka_client / "password", secrets.token_urlsafe(24))
    if not (_tls(cluster) / "server.pem").exists():
        _certificate(cluster)


def password(cluster: Cluster) -> str:
    """The password of ``USER``."""
    return (cluster.kafka_client / "password").read_text(encoding="utf-8")


def _tls(cluster: Cluster) -> Path:
    return cluster.data / "kafka-tls"


def _certificate(cluster: Cluster) -> None:
    """An authority of its own signs one certificate and its key is thrown away; ``server.pem`` comes last."""
    folder, name = _tls(cluster), "kafka" if cluster.by_name else "localhost"
    with TemporaryDirectory(dir=folder) as work:
        names = f"subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:{name}\nextendedKeyUsage=serverAuth\n"
        Path(work, "extensions").write_text(names, encoding="utf-8")
        authority = "-CA ca.pem -CAkey ca.key -set_serial 1 -extfile extensions"
        usage = "-addext keyUsage=critical,keyCertSign,cRLSign"
        _openssl(work, f"req -x509 {_NEW_KEY} -days {_DAYS} {usage} -subj /CN=quotaloop -keyout ca.key -out ca.pem")
        _openssl(work, f"req {_NEW_KEY} -subj /CN={name} -keyout key.pem -out request.pem")
        _openssl(work, f"x509 -req -in request.pem {authority} -days {_DAYS} -out certificate.pem")
        shutil.copyfile(Path(work, "ca.pem"), cluster.kafka_client / "ca.pem")
        pair = "".join(Path(work, part).read_text(encoding="utf-8") for part in ("key.pem", "certificate.pem"))
        _write_secret(folder / "server.pem", pair)


def _write_secret(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)


def _openssl(folder: str, arguments: str) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        raise Failure("the broker's certificate needs openssl (Debian: apt-get install openssl)")
    command = [openssl, *arguments.split()]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"openssl {arguments.split()[0]}: {done.stderr[-500:]}")
