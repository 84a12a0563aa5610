"""Publishing: to folders and to Debian's registry; twice, cut in the middle, and where it is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.registries import USER, Relay, docker_registry, relay
from tests.support.releases import Keys, flip, killed, publish, published
from utils.release import check, oci
from utils.release.http import is_loopback
from utils.release.layout import Layout
from utils.release.registry import Registry

#: Each starts the program, which imports the hub's and signing's packages for seconds.
pytestmark = pytest.mark.slow

## Folders


def test_to_a_folder(release_once: Path, home: dict[str, str], keys: Keys, tmp_path: Path) -> None:
    to = f"dir:{tmp_path / 'out'}"
    dry = publish(release_once, to, home, "dry_run=1")
    assert "files would be copied" in dry.stdout
    assert not (tmp_path / "out").exists()
    assert publish(release_once, to.replace(":", "://"), home).returncode == 0  # dir:///x is /x
    assert check.check(tmp_path / "out/1.0.0", keys.public)
    assert "to the last byte" in check.compare(tmp_path / "out/1.0.0", release_once)[0]
    (tmp_path / "out/.new.killed").mkdir()
    assert "nothing to do" in publish(release_once, to, home).stdout
    flip(tmp_path / "out/1.0.0/bom.json", 50)
    other = publish(release_once, to, home)
    assert other.returncode == 11
    assert "this version is already published, with other files" in other.stderr


def test_to_a_full_folder(release_once: Path, home: dict[str, str], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no right to mount a tmpfs")
    try:
        for to in (f"dir:{disk}", f"oci:{disk}/layout"):
            done = publish(release_once, to, home)
            assert done.returncode == 9
            assert "no space left on the disk" in done.stderr
        assert [entry.name for entry in disk.iterdir()] == ["layout"]
        assert not list(disk.glob("layout/*/index.json"))  # blobs that no tag names: not published
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    "to", ["", "dir:", "ftp://host/x", "hf://", "hf:org", "oci://host", "oci:", "dir://host/x", "oci:///x/y"]
)
def test_a_place_that_is_none(release_once: Path, home: dict[str, str], to: str) -> None:
    done = publish(release_once, to, home)
    assert done.returncode == 11
    assert "to=: " in done.stderr
    assert "to=dir:FOLDER, to=oci:FOLDER, to=oci://HOST/REPO or to=hf://ORG" in done.stderr


def test_a_damaged_release_is_not_published(release: Path, home: dict[str, str], tmp_path: Path) -> None:
    flip(release / "demo_nearest-1.0.0.tar.gz", 5000)
    for to in (f"dir:{tmp_path / 'out'}", f"oci:{tmp_path / 'out'}"):
        done = publish(release, to, home)
        assert done.returncode == 10
        assert "demo_nearest-1.0.0.tar.gz: is not the file that was released" in done.stderr
    assert not (tmp_path / "out").exists()


## OCI


def test_to_a_layout_folder(release_once: Path, home: dict[str, str], tmp_path: Path) -> None:
    to = f"oci:{tmp_path / 'layout'}"
    dry = publish(release_once, to, home, "dry_run=1")
    assert "would be sent" in dry.stdout
    assert not (tmp_path / "layout").exists()
    assert publish(release_once, to, home).returncode == 0
    before = {file: file.read_bytes() for file in (tmp_path / "layout").rglob("*") if file.is_file()}
    again = publish(release_once, to, home)
    assert again.stdout.count("nothing to do") == 4  # the models, and their proofs
    assert before == {file: file.read_bytes() for file in (tmp_path / "layout").rglob("*") if file.is_file()}
    index = json.loads((tmp_path / "layout/demo_nearest/index.json").read_text())
    tags = [entry["annotations"].get("org.opencontainers.image.ref.name") for entry in index["manifests"]]
    assert tags == ["1.0.0", "latest", *[None] * 3]  # bom.json, and the provenance of two artifacts
    # a blob that was cut off by a crash is not taken for the blob
    model = published(release_once, "demo_nearest", card_alone=True)["demo_nearest_float32.tflite"]
    for whole, done in ((model, "1 sent"), ((release_once / "bom.json").read_bytes(), "proofs: 1 attached")):
        blob = tmp_path / "layout/demo_nearest/blobs/sha256" / hashlib.sha256(whole).hexdigest()
        assert blob.read_bytes() == whole
        blob.write_bytes(whole[:100])
        assert done in publish(release_once, to, home).stdout
        assert blob.read_bytes() == whole


def test_the_manifest_is_modelpack(release_once: Path) -> None:
    index = check.index_of(release_once)
    contents = published(release_once, "demo_nearest", card_alone=True)
    what = oci.build_artifact("demo_nearest", index["models"]["demo_nearest"], contents, index)
    manifest = json.loads(what.manifest)
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    layers = {layer["annotations"]["org.cncf.model.filepath"]: layer for layer in manifest["layers"]}
    assert layers.keys() == contents.keys()
    for name, layer in layers.items():
        assert layer["digest"] == f"sha256:{hashlib.sha256(contents[name]).hexdigest()}"
        assert layer["size"] == len(contents[name])
    assert layers["demo_nearest_int8.tflite"]["mediaType"] == "application/vnd.cncf.model.weight.v1.raw"
    assert layers["example.py"]["mediaType"] == "application/vnd.cncf.model.code.v1.raw"
    assert layers["README.md"]["mediaType"] == "application/vnd.cncf.model.doc.v1.raw"
    config = json.loads(what.blobs[manifest["config"]["digest"]])
    assert config["modelfs"] == {"type": "layers", "diffIds": [layer["digest"] for layer in manifest["layers"]]}
    assert config["descriptor"]["version"] == "1.0.0"


@pytest.fixture(params=["open", "with a password"])
def registry(request: pytest.FixtureRequest, home: dict[str, str], tmp_path: Path) -> Iterator[Relay]:
    """Debian's registry behind a relay; whoever publishes is logged in where it needs that."""
    with docker_registry(tmp_path / "registry", password=request.param != "open") as host, relay(host) as watched:
        if request.param != "open":
            folder = Path(home["DOCKER_CONFIG"])
            folder.mkdir()
            known = {"auths": {watched.address: {"auth": base64.b64encode(USER.encode()).decode()}}}
            (folder / "config.json").write_text(json.dumps(known))
        yield watched


def pull(address: str, repository: str, tag: str, to: Path, home: dict[str, str]) -> dict[str, bytes]:
    """What skopeo, another's client, gets: file name -> bytes, by the manifest's annotations."""
    to.parent.mkdir(exist_ok=True)
    source = f"docker://{address}/{repository}:{tag}"
    arguments = ["copy", "--quiet", "--src-tls-verify=false", "--authfile", f"{home['DOCKER_CONFIG']}/config.json"]
    if not Path(home["DOCKER_CONFIG"], "config.json").exists():
        del arguments[-2:]
    done = subprocess.run(["skopeo", *arguments, source, f"dir:{to}"], env=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((to / "manifest.json").read_text())
    return {
        layer["annotations"]["org.opencontainers.image.title"]: (
            to / layer["digest"].removeprefix("sha256:")
        ).read_bytes()
        for layer in manifest["layers"]
    }


@pytest.mark.registry
def test_to_a_registry_and_back(release_once: Path, home: dict[str, str], registry: Relay, tmp_path: Path) -> None:
    to = f"oci://{registry.address}/team/zoo"
    assert "would be sent" in publish(release_once, to, home, "dry_run=1").stdout
    assert registry.puts == []
    done = publish(release_once, to, home)
    assert done.returncode == 0, done.stderr
    for model in ("demo_nearest", "demo_bilinear"):
        for tag in ("1.0.0", "latest"):
            got = pull(registry.address, f"team/zoo/{model}", tag, tmp_path / model / tag, home)
            assert got == published(release_once, model, card_alone=True)
    assert len(registry.puts) == len(set(registry.puts)) + shared(release_once)
    assert done.stdout.count("; latest is 1.0.0") == 2
    before = len(registry.puts)
    again = publish(release_once, to, home)
    assert again.stdout.count("nothing to do") == 4  # the models, and their proofs
    assert len(registry.puts) == before


@pytest.mark.registry
def test_latest_in_a_registry_moves_only_forward(
    release_once: Path, home: dict[str, str], registry: Relay, tmp_path: Path
) -> None:
    newer = Layout(tmp_path / "layout")
    index = check.index_of(release_once) | {"version": "1.10.0"}
    what = oci.build_artifact("demo_bilinear", index["models"]["demo_bilinear"], {"README.md": b"newer"}, index)
    oci.push(newer, what, "1.10.0", dry_run=False)
    login = ["--dest-creds", USER] if Path(home["DOCKER_CONFIG"], "config.json").exists() else []
    for tag in ("1.10.0", "latest"):
        target = f"docker://{registry.address}/zoo/demo_bilinear:{tag}"
        arguments = ["--quiet", "--dest-tls-verify=false", *login, f"oci:{newer.folder}:{tag}", target]
        subprocess.run(["skopeo", "copy", *arguments], env=home, check=True)
    done = publish(release_once, f"oci://{registry.address}/zoo", home)
    assert done.returncode == 0, done.stderr
    assert "; latest stays: 1.10.0 is newer" in done.stdout
    assert "; latest is 1.0.0" in done.stdout  # the other model's
    for tag, files in (
        ("latest", {"README.md": b"newer"}),
        ("1.0.0", published(release_once, "demo_bilinear", card_alone=True)),
    ):
        assert pull(registry.address, "zoo/demo_bilinear", tag, tmp_path / "got" / tag, home) == files


def shared(release: Path) -> int:
    """Files that both models have: each repository holds its own, and bom.json and the empty configuration."""
    one, other = (
        {hashlib.sha256(data).digest() for data in published(release, model, card_alone=True).values()}
        for model in ("demo_nearest", "demo_bilinear")
    )
    return len(one & other) + 2


@pytest.mark.registry
def test_cut_in_the_middle_and_repeated(
    release_once: Path, home: dict[str, str], registry: Relay, tmp_path: Path
) -> None:
    """Nothing is visible before all is there; what arrived is not sent again; the result is the same."""
    to = f"oci://{registry.address}/zoo"
    registry.pace = 0.05
    killed(release_once, to, home, lambda: len(registry.puts) >= 7)
    registry.pace = 0.0
    time.sleep(0.3)  # what the dead process had sent arrives
    assert not [put for put in registry.puts if not put.startswith("sha256:")]  # no manifest: nothing half-published
    registry.fail = 2  # and a registry that is busy for a moment
    assert publish(release_once, to, home).returncode == 0
    assert len(registry.puts) == len(set(registry.puts)) + shared(release_once)
    assert pull(registry.address, "zoo/demo_nearest", "1.0.0", tmp_path / "got", home) == published(
        release_once, "demo_nearest", card_alone=True
    )


@pytest.mark.registry
def test_a_version_that_is_there_does_not_change(
    release_once: Path, home: dict[str, str], registry: Relay, tmp_path: Path
) -> None:
    to = f"oci://{registry.address}/zoo"
    other = Layout(tmp_path / "layout")
    index = check.index_of(release_once)
    what = oci.build_artifact("demo_bilinear", index["models"]["demo_bilinear"], {"README.md": b"other"}, index)
    oci.push(other, what, "1.0.0", dry_run=False)
    target = f"docker://{registry.address}/zoo/demo_bilinear:1.0.0"
    config = Path(home["DOCKER_CONFIG"], "config.json")
    login = ["--dest-creds", USER] if config.exists() else []
    arguments = ["--quiet", "--dest-tls-verify=false", *login, f"oci:{other.folder}:1.0.0", target]
    subprocess.run(["skopeo", "copy", *arguments], env=home, check=True)
    done = publish(release_once, to, home)
    assert done.returncode == 11
    assert "zoo/demo_bilinear:1.0.0: this version is already published, with other files" in done.stderr


@pytest.mark.registry
@pytest.mark.parametrize("registry", ["with a password"], indirect=True)
@pytest.mark.parametrize("known", ["nobody", "wrong", "helper"])
def test_who_is_let_in(release_once: Path, home: dict[str, str], registry: Relay, tmp_path: Path, known: str) -> None:
    config = Path(home["DOCKER_CONFIG"]) / "config.json"
    wrong = {"auths": {registry.address: {"auth": base64.b64encode(b"zoo:hf_wrong").decode()}}}
    config.write_text(json.dumps({"nobody": {}, "wrong": wrong, "helper": {"credsStore": "test"}}[known]))
    helper = tmp_path / "bin/docker-credential-test"
    helper.parent.mkdir()
    user, secret = USER.split(":")
    answer = json.dumps({"Username": user, "Secret": secret})
    script = ["#!/bin/sh", "read host", f"[ $host = {registry.address} ] && echo '{answer}'", ""]
    helper.write_text("\n".join(script))
    helper.chmod(0o755)
    env = home | {"PATH": f"{helper.parent}:{os.environ['PATH']}"}
    done = publish(release_once, f"oci://{registry.address}/zoo", env)
    if known == "helper":
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 11
    said = {"nobody": "there are no credentials for it", "wrong": "it refused the credentials"}[known]
    assert f"not authorised (HTTP 401): {said}" in done.stderr
    assert f"docker login {registry.address}" in done.stderr
    assert registry.puts == []


@pytest.mark.registry
@pytest.mark.parametrize("registry", ["open"], indirect=True)
@pytest.mark.parametrize("known", [True, False])
def test_a_registry_that_gives_tokens(release_once: Path, home: dict[str, str], registry: Relay, known: bool) -> None:
    registry.bearer = True
    config = Path(home["DOCKER_CONFIG"]) / "config.json"
    config.parent.mkdir()
    user = USER if known else "zoo:hf_wrong"
    config.write_text(json.dumps({"auths": {registry.address: {"auth": base64.b64encode(user.encode()).decode()}}}))
    done = publish(release_once, f"oci://{registry.address}/zoo", home)
    assert done.returncode == (0 if known else 11), done.stderr
    assert bool(registry.puts) == known
    if not known:
        assert "not authorised (HTTP 401): it refused the credentials" in done.stderr


def test_a_registry_that_is_not_there(release_once: Path, home: dict[str, str]) -> None:
    done = publish(release_once, "oci://127.0.0.1:9/zoo", home)
    assert done.returncode == 11
    assert "oci://127.0.0.1:9/zoo/demo_bilinear: cannot be reached (connection refused, 4 tries)" in done.stderr


def test_no_registry_elsewhere_is_spoken_to_without_tls() -> None:
    assert Registry("registry.example.org", "zoo/model").base == "https://registry.example.org/v2/zoo/model"
    assert Registry("[::1]:5000", "zoo").base == "http://[::1]:5000/v2/zoo"
    assert not is_loopback("127.0.0.1.example.org")
    assert not is_loopback("localhost.example.org:80")


def test_a_repository_name_that_is_none(release_once: Path, home: dict[str, str]) -> None:
    done = publish(release_once, "oci://127.0.0.1:9/Team Zoo", home)
    assert done.returncode == 11
    assert "is not the name of a repository" in done.stderr
