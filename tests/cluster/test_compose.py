"""The compose file starts what `cluster` starts, by the same settings files, poms and ports; no engine is needed.

Last, what the script does before any server runs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyspark
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "docker" / "hadoop-spark"
IN_IMAGE = "/quotaloop/docker/hadoop-spark"
NAMES = ["kafka", "namenode", "datanode", "resourcemanager", "nodemanager", "historyserver"]
_HADOOP_FILES = {"core-site.xml", "hdfs-site.xml", "yarn-site.xml", "mapred-site.xml", "capacity-scheduler.xml"}


def _cluster(folder: Path, *arguments: str) -> str:
    command = [sys.executable, str(HERE / "cluster"), "--dir", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def _program(path: Path, script: str) -> Path:
    """A program of the shell in the place of another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def _services() -> dict[str, Any]:
    compose: dict[str, Any] = yaml.safe_load((HERE / "compose.yaml").read_text(encoding="utf-8"))
    services: dict[str, Any] = compose["services"]
    return services


def _version(pom: str, name: str) -> str:
    found = ElementTree.parse(HERE / pom / "pom.xml").findtext(f"{{*}}properties/{{*}}{name}")
    assert found is not None
    return found


def _published(service: dict[str, Any]) -> set[int]:
    """The ports of ``127.0.0.1:FIRST-LAST:FIRST-LAST``; anything else fails."""
    ports: set[int] = set()
    for entry in service["ports"]:
        match = re.fullmatch(r"127\.0\.0\.1:(\d+)-(\d+):\1-\2", entry)
        assert match, entry
        ports |= set(range(int(match[1]), int(match[2]) + 1))
    return ports


def _settings(folder: Path) -> dict[str, dict[str, str]]:
    """Name and value of every setting, by file."""
    return {path.name: _pairs(path) for path in sorted(folder.glob("conf/*/*")) if "log4j" not in path.name}


def _pairs(path: Path) -> dict[str, str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".xml":
        found = ElementTree.fromstring(text).findall("property")
        assert len({item.findtext("name") for item in found}) == len(found), f"{path.name} says something twice"
        return {item.findtext("name", ""): item.findtext("value", "") for item in found}
    lines = [line for line in text.replace("\\\n", "").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)  # type: ignore[misc]


def test_every_server_of_the_script_is_a_service_and_there_is_a_client(tmp_path: Path) -> None:
    assert list(json.loads(_cluster(tmp_path, "status", "--json"))) == NAMES
    assert list(_services()) == [*NAMES, "client"]


@pytest.mark.parametrize("name", NAMES)
def test_a_service_is_the_scripts_server_in_the_foreground(name: str) -> None:
    service = _services()[name]
    assert service["command"] == ["serve", name]
    assert "entrypoint" not in service


@pytest.mark.parametrize("name", NAMES)
def test_the_ports_are_those_of_the_script_and_open_on_loopback_alone(tmp_path: Path, name: str) -> None:
    ports = json.loads(_cluster(tmp_path, "status", "--json"))[name]["ports"]
    ports.pop("KAFKA_CONTROLLER_PORT", None)  # the broker talks to itself there
    assert _published(_services()[name]) == set(ports.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_service_is_healthy_when_the_scripts_own_condition_holds(name: str) -> None:
    check = _services()[name]["healthcheck"]
    assert check["test"] == ["CMD", "cluster", "ready", name]
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


def test_whoever_waits_for_another_service_waits_until_it_is_healthy() -> None:
    waits = [wait for service in _services().values() for wait in service.get("depends_on", {}).values()]
    assert waits
    assert [wait for wait in waits if wait != {"condition": "service_healthy"}] == []


def test_nobody_is_root_and_nobody_can_become_it() -> None:
    for service in _services().values():
        assert service["user"] == "quotaloop"
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service
    dockerfile = (HERE / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["quotaloop"]


def test_all_services_are_one_image_with_the_settings_and_poms_of_the_checkout() -> None:
    assert len({json.dumps([service["image"], service["build"]]) for service in _services().values()}) == 1
    build = _services()["kafka"]["build"]
    assert (HERE / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == HERE / "Dockerfile"
    dockerfile = (HERE / "Dockerfile").read_text(encoding="utf-8")
    for name in ("kafka", "hadoop"):
        assert f"COPY docker/hadoop-spark/{name}/pom.xml {name}/pom.xml" in dockerfile
    ignored = (HERE / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert [line for line in ignored if "conf" in line or line == "docker"] == []
    mounted = [volume for service in _services().values() for volume in service["volumes"]]
    assert {volume.split(":")[1] for volume in mounted} == {"/data", "/data/kafka-client"}


def test_volumes_are_named_and_declared() -> None:
    compose = yaml.safe_load((HERE / "compose.yaml").read_text(encoding="utf-8"))
    used = {volume.split(":")[0] for service in compose["services"].values() for volume in service["volumes"]}
    assert used == set(compose["volumes"])


def test_base_images_have_a_full_version_and_python_is_that_of_the_project() -> None:
    images = re.findall(r"^FROM (\S+)", (HERE / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(images) == 2
    assert [image for image in images if not re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+-[a-z0-9-]+", image)] == []
    assert images[1].startswith("python:3.11.")


@pytest.mark.parametrize("pom", ["kafka", "hadoop"])
def test_every_version_in_a_pom_is_a_pinned_property(pom: str) -> None:
    tree = ElementTree.parse(HERE / pom / "pom.xml")
    versions = [item.text or "" for item in tree.findall(".//{*}dependency/{*}version")]
    versions += [item.text or "" for item in tree.findall(".//{*}plugin/{*}version")]
    properties = {item.tag.partition("}")[2]: item.text or "" for item in tree.findall("{*}properties/*")}
    assert {version.removeprefix("${").removesuffix("}") for version in versions} == set(properties)
    assert [value for value in properties.values() if not re.fullmatch(r"\d+\.\d+\.\d+", value)] == []
    assert "repositor" not in (HERE / pom / "pom.xml").read_text(encoding="utf-8").lower()


def test_the_servers_hadoop_is_the_one_that_spark_brings() -> None:
    (client,) = (Path(pyspark.__file__).parent / "jars").glob("hadoop-client-api-*.jar")
    assert client.stem.removeprefix("hadoop-client-api-") == _version("hadoop", "hadoop.version")


def test_the_client_is_told_what_the_script_tells(tmp_path: Path) -> None:
    told = json.loads(_cluster(tmp_path, "--hosts", "names", "env", "--json"))
    in_image = {
        name: value.replace(str(HERE), IN_IMAGE).replace(str(tmp_path), "/data") for name, value in told.items()
    }
    assert _services()["client"]["environment"] == in_image


def test_containers_and_processes_have_the_same_settings_but_for_hosts(tmp_path: Path) -> None:
    _cluster(tmp_path, "conf")
    processes = _settings(tmp_path)
    _cluster(tmp_path, "--hosts", "names", "conf")
    containers = _settings(tmp_path)
    assert set(processes) == {*_HADOOP_FILES, "server.properties"}
    hosts = re.compile("|".join([*NAMES, r"0\.0\.0\.0"]))
    for file, pairs in processes.items():
        for name, value in pairs.items():
            if value != containers[file][name]:
                assert hosts.sub("127.0.0.1", containers[file][name]) == value, f"{file}: {name}"


@pytest.mark.parametrize("hosts", ["loopback", "names"])
def test_no_setting_is_left_open(tmp_path: Path, hosts: str) -> None:
    _cluster(tmp_path, "--hosts", hosts, "conf")
    written = sorted(tmp_path.glob("conf/*/*"))
    assert [path.relative_to(tmp_path / "conf") for path in written] == [
        path.relative_to(HERE / "conf") for path in sorted((HERE / "conf").glob("*/*"))
    ]
    assert [path for path in written if "${env." in path.read_text(encoding="utf-8")] == []


def test_processes_listen_on_loopback_alone(tmp_path: Path) -> None:
    _cluster(tmp_path, "conf")
    values = [value for pairs in _settings(tmp_path).values() for value in pairs.values()]
    assert [value for value in values if "0.0.0.0" in value] == []


def test_two_clusters_share_no_port(tmp_path: Path) -> None:
    def ports(base: int) -> set[int]:
        states = json.loads(_cluster(tmp_path, "--ports", str(base), "status", "--json"))
        return {port for state in states.values() for port in state["ports"].values()}

    assert len(ports(19000)) == 20
    assert ports(19000).isdisjoint(ports(19100))


@pytest.mark.parametrize(("hosts", "address"), [("loopback", "127.0.0.1"), ("names", None)])
def test_a_spark_driver_listens_on_loopback_where_servers_do(tmp_path: Path, hosts: str, address: str | None) -> None:
    told = json.loads(_cluster(tmp_path, "--hosts", hosts, "env", "--json"))
    assert told.get("SPARK_LOCAL_IP") == address


def test_a_folder_is_the_same_however_it_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a", target_is_directory=True)
    spelled = [tmp_path / "a", tmp_path / "b" / ".." / "a", tmp_path / "link"]
    assert {_cluster(path, "status").split(",")[0] for path in spelled} == {str(tmp_path / "a")}


def test_java_home_goes_before_the_path_as_for_spark(tmp_path: Path) -> None:
    java = _program(tmp_path / "jdk" / "bin" / "java", 'echo "mine: $*"')
    environment = os.environ | {"JAVA_HOME": str(tmp_path / "jdk"), "HADOOP_CONF_DIR": str(tmp_path)}
    serve = [sys.executable, str(HERE / "cluster"), "--dir", str(tmp_path / "c"), "serve", "namenode"]
    hadoop = tmp_path / "bin" / "hadoop"
    (tmp_path / "jars" / "hadoop").mkdir(parents=True)
    hadoop.parent.mkdir()
    shutil.copy(HERE / "bin" / "hadoop", hadoop)
    for command in (serve, [str(hadoop), "version"]):
        said = subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout
        assert said.startswith("mine: "), command
    java.unlink()
    done = subprocess.run(serve, env=environment, capture_output=True, check=False, text=True)
    assert (done.returncode, f"no java in JAVA_HOME, {tmp_path / 'jdk'}" in done.stderr) == (1, True)


def test_a_password_does_not_stay_where_formatting_failed(tmp_path: Path) -> None:
    _program(tmp_path / "jdk" / "bin" / "java", "echo broken; exit 1")
    serve = [sys.executable, str(HERE / "cluster"), "--dir", str(tmp_path / "c"), "serve", "kafka"]
    environment = os.environ | {"JAVA_HOME": str(tmp_path / "jdk")}
    done = subprocess.run(serve, env=environment, capture_output=True, check=False, text=True)
    assert (done.returncode, "broken" in done.stderr) == (1, True)
    password = (tmp_path / "c" / "kafka-client" / "password").read_bytes()
    holding = [path for path in (tmp_path / "c").rglob("*") if path.is_file() and password in path.read_bytes()]
    assert [path.name for path in holding] == ["password"]


def test_jars_that_somebody_runs_from_are_not_taken_away(tmp_path: Path) -> None:
    here = tmp_path / "checkout"
    shutil.copytree(HERE, here, ignore=shutil.ignore_patterns("jars"))
    _program(tmp_path / "bin" / "mvn", "true")
    (here / "jars" / "kafka").mkdir(parents=True)
    (here / "jars" / "kafka" / "old.jar").touch()
    (here / "jars" / "kafka.sha256").write_text("of another pom", encoding="utf-8")
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    fetch = [sys.executable, str(here / "cluster"), "--dir", str(tmp_path / "c"), "jars"]
    runs = [sys.executable, "-c", "input()", "-cp", f"{tmp_path}:{here}/jars/kafka/*"]
    with subprocess.Popen(runs, stdin=subprocess.PIPE) as server:
        done = subprocess.run(fetch, env=environment, capture_output=True, check=False, text=True)
        assert (done.returncode, f"process {server.pid} runs from its jars" in done.stderr) == (1, True), done.stderr
        assert (here / "jars" / "kafka" / "old.jar").exists()
        server.communicate(b"\n")
    subprocess.run(fetch, env=environment, check=True)
    assert not (here / "jars" / "kafka" / "old.jar").exists()
