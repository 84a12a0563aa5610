"""Proofs that are attached to a published model: in layouts, in registries of both kinds, and found by other tools."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.rebuilders import file_of, new_key, put, put_beside, state
from tests.support.referring import Referring, referring
from tests.support.registries import docker_registry
from tests.support.releases import FIRST_MODEL, change_json, small_release
from tests.support.rogues import http, rogue
from utils.errors import PublishError
from utils.release import check, oci, publish, referrers
from utils.release.layout import Layout
from utils.release.oci import as_json, digest_of
from utils.release.registry import Registry

VERSION = "0.1.0"
PROVENANCE = f"{FIRST_MODEL}_int8.tflite.json"
KINDS = {
    "provenance": "application/vnd.in-toto+json",
    "bom": "application/vnd.cyclonedx+json",
    "rebuild": "application/vnd.dev.sigstore.bundle.v0.3+json",
}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return small_release(tmp_path)


def send(release: Path, to: str, *, dry_run: bool = False) -> None:
    publish.publish(release, to, None, dry_run=dry_run)


def layout(folder: Path) -> Path:
    """The layout of the model below the folder that is published to."""
    return folder / FIRST_MODEL


def entries(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "index.json").read_text())["manifests"]
    return found


def tag_of(entry: dict[str, Any]) -> str:
    return str(entry["annotations"].get("org.opencontainers.image.ref.name", ""))


def blob(folder: Path, digest: str) -> bytes:
    data = (folder / "blobs" / digest.replace(":", "/")).read_bytes()
    assert digest_of(data) == digest
    return data


def tree(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


## Layouts


def test_a_layout_holds_every_proof(release: Path, tmp_path: Path) -> None:
    key = new_key()
    statement = put_beside(release, check.index_of(release), FIRST_MODEL, key)
    send(release, f"oci:{tmp_path / 'to'}")
    there = layout(tmp_path / "to")
    assert [tag_of(entry) for entry in entries(there)] == [VERSION, "latest", "", "", ""]
    model = entries(there)[0]
    attached = {entry["artifactType"]: entry for entry in entries(there) if not tag_of(entry)}
    assert attached.keys() == set(KINDS.values())
    wanted = {
        KINDS["provenance"]: (PROVENANCE, (release / "provenance" / PROVENANCE).read_bytes()),
        KINDS["bom"]: ("bom.json", (release / "bom.json").read_bytes()),
        KINDS["rebuild"]: (file_of(key), statement.read_bytes()),
    }
    for kind, entry in attached.items():
        text = blob(there, entry["digest"])
        manifest = json.loads(text)
        assert len(text) == entry["size"]
        assert manifest["artifactType"] == kind
        assert manifest["subject"] == {key: model[key] for key in ("mediaType", "digest", "size")}
        assert manifest["annotations"] == entry["annotations"]
        assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
        assert blob(there, manifest["config"]["digest"]) == b"{}"
        [layer] = manifest["layers"]
        assert layer["mediaType"] == kind
        title, data = wanted[kind]
        assert layer["annotations"]["org.opencontainers.image.title"] == title
        assert blob(there, layer["digest"]) == data
        assert layer["size"] == len(data)
    created = json.loads(blob(there, model["digest"]))["annotations"]["org.opencontainers.image.created"]
    assert {entry["annotations"]["org.opencontainers.image.created"] for entry in attached.values()} == {created}
    assert attached[KINDS["provenance"]]["annotations"]["in-toto.io/predicate-type"] == "https://slsa.dev/provenance/v1"
    told = attached[KINDS["rebuild"]]["annotations"]  # as cosign looks for it
    assert told["dev.sigstore.bundle.content"] == "dsse-envelope"
    assert told["dev.sigstore.bundle.predicateType"] == "https://slsa.dev/verification_summary/v1"


def test_twice_is_once(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = f"oci:{tmp_path / 'to'}"
    send(release, to, dry_run=True)
    assert "proofs: 2 would be attached" in capsys.readouterr().out
    assert not (tmp_path / "to").exists()
    send(release, to)
    assert "proofs: 2 attached" in capsys.readouterr().out
    before = tree(tmp_path / "to")
    send(release, to)
    assert "proofs: nothing to do, 2 were there" in capsys.readouterr().out
    assert tree(tmp_path / "to") == before
    send(release, f"oci:{tmp_path / 'other'}")
    assert {file.relative_to(tmp_path / "other"): data for file, data in tree(tmp_path / "other").items()} == {
        file.relative_to(tmp_path / "to"): data for file, data in before.items()
    }


def test_what_was_cut_is_repaired_and_what_others_attached_stays(release: Path, tmp_path: Path) -> None:
    to, there = f"oci:{tmp_path / 'to'}", layout(tmp_path / "to")
    send(release, to)
    other = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": f"sha256:{'0' * 64}", "size": 1}

    def add(index: Any) -> None:
        index["manifests"].append(other)

    change_json(there / "index.json", add)
    ours = next(entry["digest"] for entry in entries(there) if entry.get("artifactType") == KINDS["bom"])
    damaged = there / "blobs" / ours.replace(":", "/")
    damaged.write_bytes(damaged.read_bytes()[:50])
    send(release, to)
    assert other in entries(there)
    blob(there, ours)
    assert [entry["digest"] for entry in entries(there)].count(ours) == 1


def test_a_statement_that_comes_later_is_the_same_referrer(release: Path, tmp_path: Path) -> None:
    """It does not matter who attaches it, and when."""
    key, index = new_key(), check.index_of(release)
    send(release, f"oci:{tmp_path / 'later'}")
    statement = put_beside(release, index, FIRST_MODEL, key)
    send(release, f"oci:{tmp_path / 'once'}")
    put(tmp_path / "statements", FIRST_MODEL, key, statement.read_bytes())
    publish.publish_rebuilds(tmp_path / "statements", f"oci:{tmp_path / 'later'}", dry_run=False)
    assert entries(layout(tmp_path / "later")) == entries(layout(tmp_path / "once"))


def test_a_manifest_without_a_time(tmp_path: Path) -> None:
    manifest = as_json({"schemaVersion": 2, "annotations": {}})
    with pytest.raises(PublishError, match=r"org\.opencontainers\.image\.created: Field required"):
        referrers.attach(Layout(tmp_path), manifest, {"bom.json": b"{}"}, dry_run=False)


@pytest.mark.registry
def test_skopeo_reads_the_layout_still(release: Path, tmp_path: Path) -> None:
    send(release, f"oci:{tmp_path / 'to'}")
    source = f"oci:{layout(tmp_path / 'to')}:{VERSION}"
    subprocess.run(["skopeo", "copy", "--quiet", source, f"dir:{tmp_path / 'got'}"], check=True)
    manifest = json.loads((tmp_path / "got/manifest.json").read_text())
    titles = {layer["annotations"]["org.opencontainers.image.title"]: layer["digest"] for layer in manifest["layers"]}
    name = f"{FIRST_MODEL}_int8.tflite"
    assert digest_of((tmp_path / "got" / titles[name].removeprefix("sha256:")).read_bytes()) == titles[name]


## Registries


def repository(registry: Referring) -> Registry:
    return Registry(registry.address, f"zoo/{FIRST_MODEL}")


def fallback_of(registry: Referring) -> str:
    return digest_of(registry.manifests[VERSION]).replace(":", "-")


def test_a_registry_with_a_list_of_referrers(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with referring() as registry:
        to = f"oci://{registry.address}/zoo"
        send(release, to)
        assert fallback_of(registry) not in registry.manifests
        subject = digest_of(registry.manifests[VERSION])
        attached = {
            json.loads(text)["artifactType"]
            for name, text in registry.manifests.items()
            if name.startswith("sha256:") and json.loads(text).get("subject", {}).get("digest") == subject
        }
        assert attached == {KINDS["provenance"], KINDS["bom"]}
        sent = list(registry.puts)
        assert len(sent) == len(set(sent))
        send(release, to)
        assert registry.puts == sent
        assert "proofs: nothing to do, 2 were there" in capsys.readouterr().out
        key = new_key()
        put_beside(release, check.index_of(release), FIRST_MODEL, key)
        send(release, to)
        assert len(registry.puts) == len(sent) + 2  # the statement and its manifest


def test_a_registry_without_one_keeps_a_tag(release: Path) -> None:
    other = {"mediaType": "x/y", "digest": f"sha256:{'0' * 64}", "size": 1, "artifactType": "a/b", "platform": {}}
    with referring(lists=False) as registry:
        to = f"oci://{registry.address}/zoo"
        send(release, to)
        tag = fallback_of(registry)
        index = json.loads(registry.manifests[tag])
        assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
        assert {entry["artifactType"] for entry in index["manifests"]} == {KINDS["provenance"], KINDS["bom"]}
        for entry in index["manifests"]:
            manifest = json.loads(registry.manifests[entry["digest"]])
            assert entry["size"] == len(registry.manifests[entry["digest"]])
            assert entry["annotations"] == manifest["annotations"]
        index["manifests"].insert(0, other)
        registry.manifests[tag] = as_json(index | {"annotations": {"of": "another tool"}})
        sent = list(registry.puts)
        send(release, to)
        assert registry.puts == sent
        put_beside(release, check.index_of(release), FIRST_MODEL, new_key())
        send(release, to)
        merged = json.loads(registry.manifests[tag])
        assert merged["manifests"][:3] == index["manifests"]
        assert len(merged["manifests"]) == 4
        assert merged["annotations"] == {"of": "another tool"}


def test_a_push_that_was_cut_before_the_tag_is_finished(release: Path) -> None:
    with referring(lists=False) as registry:
        to = f"oci://{registry.address}/zoo"
        send(release, to)
        whole = registry.manifests.pop(fallback_of(registry))
        send(release, to)
        assert registry.manifests[fallback_of(registry)] == whole


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b'{"schemaVersion": 2}', b'{"schemaVersion": 2, "manifests": [{"digest": "../x"}]}',
     b'{"schemaVersion": 2, "config": {}, "layers": []}', b"\xff"],
)  # fmt: skip
def test_a_tag_that_is_no_index_is_not_overwritten(release: Path, text: bytes) -> None:
    with referring(lists=False) as registry:
        to = f"oci://{registry.address}/zoo"
        send(release, to)
        tag = fallback_of(registry)
        registry.manifests[tag] = text
        with pytest.raises(PublishError) as caught:
            send(release, to)
        assert registry.manifests[tag] == text
    assert f":{tag}: " in str(caught.value)
    assert all(line.isprintable() for line in str(caught.value).splitlines())


def test_a_page_in_place_of_a_list_is_no_list(release: Path) -> None:
    """Some servers answer every address with 200 and a page."""
    with referring(lists=False) as registry:

        def answer(method: str, path: str, body: bytes) -> list[bytes]:
            if "/referrers/" in path:
                return http(200, b"<html>", "Content-Type: text/html")
            return registry.answer(method, path, body)

        with rogue(answer) as address:
            send(release, f"oci://{address}/zoo")
            assert len(json.loads(registry.manifests[fallback_of(registry)])["manifests"]) == 2


def test_what_is_attached_is_asked_for_by_digest_where_there_is_a_list() -> None:
    with referring() as registry:
        manifest = as_json({"schemaVersion": 2, "annotations": {"org.opencontainers.image.created": "x"}})
        [built] = referrers.build_referrers(manifest, {"bom.json": b"{}"})
        client = repository(registry)
        subject = digest_of(manifest)
        assert client.find_referrers(subject, [built.digest]) == set()
        client.put_blob(digest_of(b"{}"), b"{}")
        client.put_referrers(subject, [built])
        assert client.find_referrers(subject, [built.digest, f"sha256:{'0' * 64}"]) == {built.digest}


@pytest.mark.registry
def test_debians_registry(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no list of referrers, and checks that all that a manifest or an index names is there."""
    key, index = new_key(), check.index_of(release)
    with docker_registry(tmp_path / "registry") as host:
        to = f"oci://{host}/team/zoo"
        send(release, to)
        client = Registry(host, f"team/zoo/{FIRST_MODEL}")
        found = client.find_tag(VERSION)
        assert found is not None
        tag = found.digest.replace(":", "-")
        artifacts = {file: facts["sha256"] for file, facts in index["models"][FIRST_MODEL]["artifacts"].items()}
        text = state(key, FIRST_MODEL, artifacts, version=VERSION, commit=index["commit"], files=index["files"])
        put(tmp_path / "statements", FIRST_MODEL, key, text)
        for _ in range(2):
            publish.publish_rebuilds(tmp_path / "statements", to, dry_run=False)
        said = capsys.readouterr().out
        assert "proofs: 1 attached" in said
        assert "proofs: nothing to do, 1 were there" in said
        place = f"docker://{host}/team/zoo/{FIRST_MODEL}:{tag}"
        asked = ["skopeo", "inspect", "--raw", "--tls-verify=false", place]
        listed = json.loads(subprocess.run(asked, check=True, capture_output=True).stdout)["manifests"]
        assert {entry["artifactType"] for entry in listed} == set(KINDS.values())
        copy = ["skopeo", "copy", "--quiet", "--all", "--src-tls-verify=false", place, f"dir:{tmp_path / 'copied'}"]
        subprocess.run(copy, check=True)
        data = {file.read_bytes() for file in (tmp_path / "copied").iterdir()}
        assert {text, (release / "bom.json").read_bytes()} <= data


def test_a_push_alone_attaches_nothing(tmp_path: Path) -> None:
    facts, release = {"title": "T", "licence": "MIT"}, {"time": 0, "version": "1.0.0", "commit": "0" * 40}
    what = oci.build_artifact("m", facts, {"a": b"a"}, release)
    oci.push(Layout(tmp_path), what, "1.0.0", dry_run=False)
    assert [tag_of(entry) for entry in entries(tmp_path)] == ["1.0.0", "latest"]
