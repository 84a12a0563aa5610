"""Reading a published model: from a layout and a registry; and manifests that lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.referring import referring
from tests.support.registries import docker_registry
from tests.support.releases import FIRST_MODEL, small_release
from tests.support.rogues import http, rogue
from utils import limits
from utils.errors import PublishError, ReleaseError, ZooError
from utils.release import check, oci, publish
from utils.release.layout import Layout
from utils.release.oci import as_json, digest_of
from utils.release.pull import Published, pull_model

VERSION = "0.1.0"
FILE = f"{FIRST_MODEL}_int8.tflite"
PROOF = f"provenance/{FILE}.json"
TITLE = "org.opencontainers.image.title"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def layout(release: Path, tmp_path: Path) -> Layout:
    publish.publish(release, f"oci:{tmp_path / 'to'}", None, dry_run=False)
    return Layout(tmp_path / "to" / FIRST_MODEL)


def pull(layout: Layout) -> Published:
    return pull_model(f"oci:{layout.folder}:{VERSION}")


def require_whole(found: Published, release: Path) -> None:
    index = check.index_of(release)
    artifacts = {file: facts["sha256"] for file, facts in index["models"][FIRST_MODEL]["artifacts"].items()}
    assert (found.model, found.version, found.commit) == (FIRST_MODEL, VERSION, index["commit"])
    assert found.artifacts == artifacts
    assert found.provenance == {PROOF: (release / PROOF).read_bytes()}


def test_from_a_layout(layout: Layout, release: Path) -> None:
    require_whole(pull(layout), release)


def test_from_a_registry(release: Path) -> None:
    with referring() as registry:
        publish.publish(release, f"oci://{registry.address}/team/zoo", None, dry_run=False)
        require_whole(pull_model(f"oci://{registry.address}/team/zoo/{FIRST_MODEL}:{VERSION}"), release)


@pytest.mark.registry
def test_from_debians_registry(release: Path, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry") as host:
        publish.publish(release, f"oci://{host}/zoo", None, dry_run=False)
        require_whole(pull_model(f"oci://{host}/zoo/{FIRST_MODEL}:{VERSION}"), release)


def test_only_pull_is_asked_for_and_no_weights_are_fetched(release: Path) -> None:
    asked: list[str] = []
    with referring() as registry:
        publish.publish(release, f"oci://{registry.address}/zoo", None, dry_run=False)

        def answer(method: str, path: str, body: bytes) -> list[bytes]:
            asked.append(f"{method} {path}")
            if path.startswith("/token"):
                return http(200, b'{"token": "t"}')
            if len(asked) == 1:
                return http(401, b"", f'WWW-Authenticate: Bearer realm="http://{place[0]}/token",service="s"')
            return registry.answer(method, path, body)

        place: list[str] = []
        with rogue(answer) as address:
            place.append(address)
            found = pull_model(f"oci://{address}/zoo/{FIRST_MODEL}:{VERSION}")
    [token] = [request for request in asked if "/token" in request]
    assert token.endswith(f"scope=repository%3Azoo%2F{FIRST_MODEL}%3Apull")
    assert not [request for request in asked if found.artifacts[FILE] in request]


@pytest.mark.parametrize(
    "reference",
    ["", "oci:", "oci:x", "oci:model:1.0.0", "oci:/:1.0.0", "oci:a/b:", "oci:a/b:latest", "oci:a/B c:1.0.0",
     "oci://host:1.0.0", "oci://host/REPO", "hf://org/m:1.0.0", "dir:a/b:1.0.0", "a/b:1.0.0", "oci:a/b:1.0.0\x1b[2J"],
)  # fmt: skip
def test_a_reference_that_is_none(reference: str) -> None:
    with pytest.raises(PublishError, match="is not a published model") as caught:
        pull_model(reference)
    assert "oci:FOLDER/MODEL:VERSION or oci://HOST/REPO/MODEL:VERSION" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_user_in_a_reference_is_not_printed() -> None:
    with pytest.raises(PublishError, match="has a user in it") as caught:
        pull_model("oci://zoo:let-me-in@host/repo/model:1.0.0")
    assert "let-me-in" not in str(caught.value)


@pytest.mark.parametrize("model", ["model", "model:1.0.0"])
def test_a_digest_in_a_reference_is_no_user(model: str) -> None:
    with pytest.raises(PublishError, match="names the model by a digest") as caught:
        pull_model(f"oci://host/repo/{model}@sha256:{'0' * 64}")
    assert "name the model by its version: " in str(caught.value)
    assert "oci://HOST/REPO/MODEL:VERSION" in str(caught.value)


def test_what_is_not_published(layout: Layout, tmp_path: Path) -> None:
    for reference in (f"oci:{layout.folder}:9.9.9", f"oci:{tmp_path}/nothing/{FIRST_MODEL}:{VERSION}"):
        with pytest.raises(PublishError, match="this version is not published"):
            pull_model(reference)
    assert not (tmp_path / "nothing").exists()


## Manifests that lie


def changed(layout: Layout, change: Callable[[dict[str, Any]], None], blobs: dict[str, bytes] | None = None) -> None:
    """Put another manifest under the tag."""
    text = layout.get_manifest(VERSION)
    assert text is not None
    manifest = json.loads(text)
    change(manifest)
    for data in (blobs or {}).values():
        layout.put_blob(digest_of(data), data)
    with layout.setting_tags():
        layout.put_manifest(VERSION, as_json(manifest))


def layer_of(manifest: dict[str, Any], title: str) -> dict[str, Any]:
    [found] = [layer for layer in manifest["layers"] if layer["annotations"][TITLE] == title]
    assert isinstance(found, dict)
    return found


def titled(title: str) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        layer_of(manifest, FILE)["annotations"][TITLE] = title

    return change


def without(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        place = manifest
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return change


def layers(update: dict[str, Any], title: str = FILE) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: layer_of(manifest, title).update(update)


def drop(title: str) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        manifest["layers"].remove(layer_of(manifest, title))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (titled("../../etc/x.tflite"), "should match pattern"),
        (titled("/etc/x.tflite"), "should match pattern"),
        (titled("a/../x.tflite"), "should match pattern"),
        (titled("x\x1b[2J.tflite"), "should match pattern"),
        (titled(".hidden.tflite"), "should match pattern"),
        (titled("README.md"), "names a file twice"),
        (titled("other.tflite"), "provenance/other.tflite.json: is missing"),
        (titled("other.TFLite"), "provenance/other.TFLite.json: is missing"),
        (titled("imx93/b/x.tflite"), "has no artifact: no layer is a .tflite file"),
        (lambda m: layer_of(m, FILE)["annotations"].clear(), f"{TITLE}: Field required"),
        (layers({"annotations": {}}), f"{TITLE}: Field required"),
        (layers({"mediaType": "text/html"}), "has another media type than application/vnd.cncf.model.weight.v1.raw"),
        (layers({"digest": f"sha256:{'0' * 64}"}), f"{PROOF}: is about another file than {FILE}"),
        (layers({"digest": "sha256:x"}), "should match pattern"),
        (layers({"digest": f"sha512:{'0' * 128}"}), "should match pattern"),
        (layers({"size": -1}), "greater than or equal to 0"),
        (layers({"size": 10**12}, PROOF), "has 1,000,000,000,000 bytes; at most 16,777,216 are allowed"),
        (layers({"size": 1}, PROOF), "has another size than the manifest says"),
        (layers({"digest": f"sha256:{'0' * 64}"}, PROOF), "cannot be read: No such file or directory"),
        (drop(PROOF), f"{PROOF}: is missing"),
        (drop(FILE), "has no artifact"),
        (without("annotations"), "annotations: Field required"),
        (without("annotations", "org.opencontainers.image.revision"), "image.revision: Field required"),
        (without("annotations", "org.opencontainers.image.version"), "image.version: Field required"),
        (lambda m: m["annotations"].update({"org.opencontainers.image.version": "9.9.9"}), "is version 9.9.9"),
        (lambda m: m["annotations"].update({"org.opencontainers.image.revision": "f" * 40}), "names another commit"),
        (lambda m: m["annotations"].update({"org.opencontainers.image.revision": "HEAD"}), "should match pattern"),
        (lambda m: m.update({"artifactType": "text/html"}), "artifactType: "),
        (without("artifactType"), "artifactType: Field required"),
        (lambda m: m.update({"layers": [5]}), "layers.0: "),
        (lambda m: m.update({"layers": m["layers"][:1] * (limits.ARCHIVE_FILES + 1)}), "at most 2000 items"),
    ],
)
def test_a_manifest_that_lies(layout: Layout, change: Callable[[dict[str, Any]], None], said: str) -> None:
    changed(layout, change)
    with pytest.raises(ZooError) as caught:
        pull(layout)
    assert isinstance(caught.value, PublishError | ReleaseError)
    assert said in str(caught.value)
    assert all(line.isprintable() for line in str(caught.value).splitlines())


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 10_000, b"\xff", b'{"_type": "x"}'])
def test_provenance_that_is_none(layout: Layout, data: bytes) -> None:
    changed(layout, layers({"digest": digest_of(data), "size": len(data)}, PROOF), {PROOF: data})
    with pytest.raises(ReleaseError, match=PROOF):
        pull(layout)


def test_a_model_under_the_name_of_another(layout: Layout, tmp_path: Path) -> None:
    layout.folder.rename(tmp_path / "another")
    with pytest.raises(ReleaseError, match="is about another model than another"):
        pull_model(f"oci:{tmp_path / 'another'}:{VERSION}")


@pytest.mark.parametrize("where", ["manifest", "proof"])
def test_damaged_blobs_of_a_layout(layout: Layout, where: str) -> None:
    text = layout.get_manifest(VERSION)
    assert text is not None
    digest = digest_of(text) if where == "manifest" else layer_of(json.loads(text), PROOF)["digest"]
    file = layout.folder / "blobs" / digest.replace(":", "/")
    file.write_bytes(file.read_bytes().replace(b"e", b"f", 1))
    with pytest.raises(PublishError, match="is damaged: its bytes have another digest"):
        pull(layout)


def test_a_registry_that_serves_other_bytes(release: Path) -> None:
    with referring() as registry:
        publish.publish(release, f"oci://{registry.address}/zoo", None, dry_run=False)
        digest = digest_of((release / PROOF).read_bytes())
        registry.blobs[digest] += b" "
        with pytest.raises(PublishError, match=f"serves other bytes than {digest}"):
            pull_model(f"oci://{registry.address}/zoo/{FIRST_MODEL}:{VERSION}")
        del registry.blobs[digest]
        with pytest.raises(PublishError, match="answers HTTP 404"):
            pull_model(f"oci://{registry.address}/zoo/{FIRST_MODEL}:{VERSION}")


def test_a_manifest_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("utils.release.registry._TRIES", 1)
    with rogue(lambda *_: http(200, b"[" * 10**6)) as host, pytest.raises(PublishError, match="is not JSON"):
        pull_model(f"oci://{host}/zoo/model:1.0.0")


def test_the_media_type_of_weights_is_that_of_a_push() -> None:
    facts, release = {"title": "T", "licence": "MIT"}, {"time": 0, "version": "1.0.0", "commit": "0" * 40}
    what = oci.build_artifact("m", facts, {"m_int8.tflite": b"m"}, release)
    assert json.loads(what.manifest)["layers"][0]["mediaType"] == oci.WEIGHT
