"""The modules of gRPC are what protoc makes of the .proto."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROTO = Path("examples/gateway/proto/conversation.proto")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("proto")
    (folder / PROTO.parent).mkdir(parents=True)
    shutil.copy(ROOT / PROTO, folder / PROTO)
    kinds = [f"--{kind}_out=." for kind in ("python", "pyi", "grpc_python")]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I.", *kinds, str(PROTO)], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize("name", ["conversation_pb2.py", "conversation_pb2.pyi", "conversation_pb2_grpc.py"])
def test_a_module_is_what_protoc_makes(made: Path, name: str) -> None:
    assert (ROOT / PROTO.with_name(name)).read_text() == (made / PROTO.with_name(name)).read_text()
