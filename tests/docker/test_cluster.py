"""The files of docker/cluster/: they are what their programs take, and agree with each other and with the code."""

from __future__ import annotations

import importlib
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.conftest import INSIDE
from tests.support.checkouts import ROOT
from utils.front.commands import ENVIRONMENT, OURS

pytestmark = pytest.mark.heavy

CLUSTER = ROOT / "docker/cluster"
MANIFEST, COMPOSE = CLUSTER / "kubernetes.yaml", CLUSTER / "compose.yaml"


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(MANIFEST.read_text()))


def check(program: str, *words: str | Path) -> None:
    found = Path(sys.executable).parent / program
    done = subprocess.run([found, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def kubernetes() -> Any:
    """What holds documents against the schemas of Kubernetes."""
    if INSIDE:
        pytest.skip("the image has no schemas of Kubernetes")
    return importlib.import_module("kubernetes_validate")


def test_kubernetes_takes_the_manifest(kubernetes: Any) -> None:
    assert len(documents()) == 6
    for document in documents():
        kubernetes.validate(document, kubernetes.latest_version(), strict=True)


def test_a_manifest_with_a_misspelt_key_is_found(kubernetes: Any) -> None:
    document = next(one for one in documents() if one["kind"] == "Deployment")
    document["spec"]["replica"] = 1
    with pytest.raises(kubernetes.ValidationError, match="replica"):
        kubernetes.validate(document, kubernetes.latest_version(), strict=True)


def test_compose_takes_its_file() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def containers() -> dict[str, dict[str, Any]]:
    """The containers of both files, by file and name."""
    found = {f"compose:{name}": one for name, one in yaml.safe_load(COMPOSE.read_text())["services"].items()}
    for document in documents():
        if document["kind"] == "Deployment":
            found |= {f"kubernetes:{one['name']}": one for one in document["spec"]["template"]["spec"]["containers"]}
    return found


def variables(container: dict[str, Any]) -> dict[str, str]:
    given = container.get("environment") or {one["name"]: one["value"] for one in container.get("env", [])}
    return {name: str(value) for name, value in given.items()}


def test_every_variable_is_one_of_ours() -> None:
    named = {name for container in containers().values() for name in variables(container) if name != "ROLE"}
    assert named <= ENVIRONMENT.keys()


def test_every_command_is_one_of_ours() -> None:
    told = []
    for container in containers().values():
        words = " ".join([*container.get("args", []), variables(container).get("ROLE", "")])
        told += re.findall(r"\b(worker|scheduler)((?: [a-z]+=\S+)*)", words)
    assert {name for name, _ in told} == {"worker", "scheduler"}
    for name, values in told:
        assert {value.partition("=")[0] for value in values.split()} <= {*OURS[name].variables}


def test_every_volume_is_named_and_there() -> None:
    for document in documents():
        if document["kind"] != "Deployment":
            continue
        spec = document["spec"]["template"]["spec"]
        named = {one["name"] for one in spec["volumes"]}
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert {one["name"] for one in container["volumeMounts"]} <= named
    compose = yaml.safe_load(COMPOSE.read_text())
    for service in compose["services"].values():
        for volume in service["volumes"]:
            place = volume.partition(":")[0]
            elsewhere = place == "../../.git" or place.startswith("../../build/")
            assert elsewhere or place in compose["volumes"] or (CLUSTER / place).exists(), place


def test_no_program_of_the_cluster_gets_a_key_that_it_does_not_need() -> None:
    """Who has the CA's key makes certificates, and who has that of the step cache signs results."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    given = {name: {volume.rsplit(":", 2)[0] for volume in one["volumes"]} for name, one in services.items()}
    tls = "../../build/tls"
    assert given["scheduler"] == {"../../.git", f"{tls}/scheduler"}
    assert given["worker"] == {"../../.git", f"{tls}/worker", f"{tls}/steps.key"}


def test_all_parts_talk_to_one_scheduler_and_one_cache() -> None:
    for file in ("compose", "kubernetes"):
        ours = [variables(one) for name, one in containers().items() if name.startswith(file)]
        assert len({one["ZOO_ENGINE"] for one in ours if "ZOO_ENGINE" in one}) == 1
        assert len({one["ZOO_STEPS"] for one in ours if "ZOO_STEPS" in one}) == 1


# Certificates


needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


def make_tls(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CLUSTER / "make-tls", *words], capture_output=True, text=True)


@needs_openssl
def test_certificates_are_strictly_valid_and_private(tmp_path: Path) -> None:
    done = make_tls(tmp_path / "tls", "one", "worker-2.example")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{tmp_path}/tls/one", f"{tmp_path}/tls/worker-2.example"]
    for name in ("one", "worker-2.example"):
        folder = tmp_path / "tls" / name
        assert {file.name for file in folder.iterdir()} == {"ca.pem", "cert.pem", "key.pem"}
        assert (folder / "key.pem").stat().st_mode & 0o077 == 0
        for purpose in ("sslserver", "sslclient"):
            words = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-verify_hostname", name]
            subprocess.run([*words, "-CAfile", folder / "ca.pem", folder / "cert.pem"], check=True, capture_output=True)
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")


@needs_openssl
def test_a_later_machine_gets_a_certificate_of_the_same_ca(tmp_path: Path) -> None:
    make_tls(tmp_path, "one")
    ca, key = (tmp_path / "ca.pem").read_bytes(), (tmp_path / "ca.key").read_bytes()
    assert make_tls(tmp_path, "two").returncode == 0
    assert ((tmp_path / "ca.pem").read_bytes(), (tmp_path / "ca.key").read_bytes()) == (ca, key)
    assert (tmp_path / "two/ca.pem").read_bytes() == ca


@needs_openssl
def test_a_ca_whose_key_is_kept_elsewhere_stays_as_it_is(tmp_path: Path) -> None:
    make_tls(tmp_path, "one")
    (tmp_path / "ca.key").rename(tmp_path / "aside")
    before = (tmp_path / "ca.pem").read_bytes()
    done = make_tls(tmp_path, "two")
    assert done.returncode == 1
    assert f"{tmp_path}/ca.key is missing, which signs -> put it back" in done.stderr
    assert (tmp_path / "ca.pem").read_bytes() == before
    assert not (tmp_path / "two").exists()
    (tmp_path / "ca.key").write_text("no key")
    done = make_tls(tmp_path, "two")
    assert done.returncode == 1
    assert done.stderr  # openssl's own words
    (tmp_path / "aside").replace(tmp_path / "ca.key")
    key = (tmp_path / "ca.key").read_bytes()
    (tmp_path / "ca.pem").unlink()
    assert make_tls(tmp_path, "two").returncode == 0
    assert (tmp_path / "ca.key").read_bytes() == key


@needs_openssl
@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "é", "-x y", "a\nb"])
def test_a_name_that_is_no_folder_makes_nothing(tmp_path: Path, name: str) -> None:
    done = make_tls(tmp_path / "tls", "good", name)
    assert done.returncode == 2
    assert "is no name" in done.stderr
    assert not (tmp_path / "tls").exists()


def test_without_openssl_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for program in ("bash", "cat", "env"):
        (tmp_path / "bin" / program).symlink_to(str(shutil.which(program)))
    words, env = [CLUSTER / "make-tls", tmp_path / "tls", "one"], {"PATH": str(tmp_path / "bin")}
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "openssl is not installed -> apt-get install openssl" in done.stderr
