"""A release: the same bytes wherever it is made, what the standards' own tools say of it, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.support.boards import make_report
from tests.support.checkouts import Checkout
from tests.support.releases import DEMO, Keys, commit, copy, git, write_private
from utils import files
from utils.release import check, pack, sign
from utils.release.archive import read_archive
from utils.sources.unpack import unpack


def tree(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_two_releases_of_a_commit_are_the_same_to_the_last_byte(
    ready_once: Checkout, release_once: Path, keys: Keys, tmp_path: Path
) -> None:
    """Another folder, another hour, another file system's order, other names in the environment: signatures too."""
    other = copy(ready_once, tmp_path / "somewhere else" / "copy")
    done = other.doit("release", "version=1.0.0", DEMO, f"key={keys.private}", env={"TZ": "Asia/Tokyo", "USER": "else"})
    assert done.returncode == 0, done.stderr
    assert tree(other.root / "release/1.0.0") == tree(release_once)
    compared = other.doit("release:check", "path=release/1.0.0", f"pubkey={keys.public}", f"with={release_once}")
    assert compared.returncode == 0, compared.stderr
    assert "to the last byte" in compared.stdout


@pytest.mark.skipif("NXP_MODEL_ZOO_IMAGE" in os.environ, reason="inside the image: tests/release/test_docker.py")
def test_only_the_builder_tells_the_image_from_a_venv(
    ready_once: Checkout, release_once: Path, keys: Keys, tmp_path: Path
) -> None:
    other = copy(ready_once, tmp_path / "copy")
    base = "debian:bookworm-slim@sha256:" + "6" * 64
    image = {"NXP_MODEL_ZOO_IMAGE": "sha256:" + "5" * 64, "NXP_MODEL_ZOO_BASE": base}
    done = other.doit("release", "version=1.0.0", DEMO, f"key={keys.private}", env=image)
    assert done.returncode == 0, done.stderr
    ours = other.root / "release/1.0.0"
    lines = check.compare(ours, release_once)
    assert len(lines) == 1
    assert "but for the provenance's builder: " in lines[0]
    assert "builder:docker and urn:nxp-model-zoo:builder:venv (6 statements" in lines[0]
    statement = json.loads((ours / "provenance/demo_nearest_int8.tflite.json").read_text())
    depends = statement["predicate"]["runDetails"]["builder"]["builderDependencies"]
    assert [entry["name"] for entry in depends] == ["debian:bookworm-slim", "nxp-model-zoo"]
    assert [entry["digest"]["sha256"] for entry in depends] == ["6" * 64, "5" * 64]
    assert any("signature: of this key" in line for line in check.check(ours, keys.public))


def sums(folder: Path) -> None:
    subprocess.run(["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"], cwd=folder, check=True)


def test_sha256sum_accepts_it(release_once: Path, tmp_path: Path) -> None:
    sums(release_once)
    for archive in release_once.glob("*.tar.gz"):
        subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)
        sums(tmp_path / archive.name.removesuffix(".tar.gz"))


def test_archives_say_nothing_but_names_and_bytes(release_once: Path, ready_once: Checkout) -> None:
    moment = int(git(ready_once, "show", "-s", "--format=%ct"))
    for archive in release_once.glob("*.tar.gz"):
        assert archive.read_bytes()[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
        with tarfile.open(archive) as stream:
            entries = stream.getmembers()
        assert [entry.name for entry in entries] == sorted(entry.name for entry in entries)
        assert {(e.mtime, e.uid, e.gid, e.uname, e.gname, e.mode) for e in entries} == {(moment, 0, 0, "", "", 0o644)}


def test_an_unpacked_archive_is_the_bundle(release_once: Path, ready_once: Checkout, tmp_path: Path) -> None:
    top = unpack(release_once / "demo_nearest-1.0.0.tar.gz", tmp_path / "top")
    (top / "demo_nearest-1.0.0").rename(tmp_path / "demo_nearest-1.0.0")
    unpacked, bundle = tree(tmp_path / "demo_nearest-1.0.0"), tree(ready_once.root / "artifacts/demo_nearest")
    assert unpacked.keys() == bundle.keys()
    assert [name for name in bundle if unpacked[name] != bundle[name]] == ["README.md", "SHA256SUMS"]
    ran = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path / "demo_nearest-1.0.0", capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_what_vela_compiled_is_released_and_what_boards_said_is_not(ready: Checkout, keys: Keys) -> None:
    for name in ("imx93/SHA256SUMS", "imx93/LF6/a_vela.tflite", "board/here.json", "holiday.jpeg", "utils/x.webp"):
        pack.write(ready.root / "artifacts/demo_nearest" / name, b"x")
    done = ready.doit("release", "version=1.0.0", "models=demo_nearest", f"key={keys.private}")
    assert done.returncode == 0, done.stderr
    done = ready.doit("release:check", "path=release/1.0.0", f"pubkey={keys.public}")
    assert done.returncode == 0, done.stderr
    names = set(read_archive(ready.root / "release/1.0.0/demo_nearest-1.0.0.tar.gz"))
    assert {"imx93/SHA256SUMS", "imx93/LF6/a_vela.tflite", "utils/example.py"} <= names
    assert not names & {"board/here.json", "holiday.jpeg", "utils/x.webp"}  # none of the bundle's


@pytest.mark.slow
def test_what_boards_said_is_passed_on_only_when_asked(ready: Checkout) -> None:
    """Without it a release is the same to the last byte, measured or not; with it nothing says whose board it was."""
    words = ["release", "version=1.0.0", "models=demo_nearest"]
    assert ready.doit(*words).returncode == 0
    before = tree(ready.root / "release/1.0.0")
    bundle = ready.root / "artifacts/demo_nearest"
    record = {
        "format": 1, "target": "joe@secret-host", "date": "2026-01-02", "emulated": False,
        "bsp": {"os": {"ID": "fsl"}, "kernel": "6.6.36-seen", "machine": "aarch64", "model": "i.MX 93",
                "python": "3.12.4", "delegates": {}},
        "files": {file.name: files.sha256(file) for file in bundle.glob("*.tflite")},
        "report": make_report(bundle),
    }  # fmt: skip
    pack.write(ready.root / "build/demo_nearest/board/joe.json", json.dumps(record).encode())
    pack.write(ready.root / "build/demo_nearest/board/liar.json", b'{"models": [{"file": "x"}]}')
    done = ready.doit("demo_nearest")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out: build/demo_nearest/board/liar.json: " in done.stdout
    assert "secret-host" in (bundle / "README.md").read_text()
    done = ready.doit(*words, "--force")
    assert done.returncode == 0, done.stderr
    assert tree(ready.root / "release/1.0.0") == before
    done = ready.doit(*words, "boards=1", "--force")
    assert done.returncode == 0, done.stderr
    contents = pack.read_archive(ready.root / "release/1.0.0/demo_nearest-1.0.0.tar.gz")
    assert [name for name in contents if name.startswith("board/")] == ["board/1.json"]
    assert b"secret-host" not in b"".join(contents.values())
    assert b"| board 1, 2026-01-02 | " in contents["README.md"]
    assert ready.doit("release:check", "path=release/1.0.0").returncode == 0


def test_model_signing_accepts_it(release_once: Path, keys: Keys, tmp_path: Path) -> None:
    """The tool's own command line: of the release, and of what a hub and a registry have of one model."""
    index = check.index_of(release_once)
    for place, card_alone in (("hub", False), ("registry", True)):
        for name, data in pack.published(release_once, index, "demo_nearest", card_alone=card_alone).items():
            pack.write(tmp_path / place / name, data)
        sums(tmp_path / place)
    (tmp_path / "hub/.gitattributes").write_text("*.tflite filter=lfs")
    for folder in (release_once, tmp_path / "hub", tmp_path / "registry"):
        tool = [sys.executable, "-m", "model_signing", "verify", "key", str(folder)]
        end = ["--signature", str(folder / "model.sig"), "--public_key", str(keys.public)]
        done = subprocess.run([*tool, *end], capture_output=True, text=True)
        assert "Verification succeeded" in done.stdout, done.stderr


def test_cyclonedx_accepts_the_bom(release_once: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (release_once / "bom.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    kinds = {
        kind: [c for c in bom["components"] if c["type"] == kind]
        for kind in ("machine-learning-model", "data", "library")
    }
    assert [c["name"] for c in kinds["machine-learning-model"]] == [
        f"demo_{up}_{variant}.tflite" for up in ("bilinear", "nearest") for variant in ("float32", "int8")
    ]
    tools = {c["name"]: c for c in kinds["library"]}
    assert tools["tensorflow-cpu"]["purl"] == f"pkg:pypi/tensorflow-cpu@{tools['tensorflow-cpu']['version']}"
    assert all(c["externalReferences"][0]["hashes"] for c in kinds["library"])
    silent = [c["name"] for c in kinds["library"] if "licenses" not in c]
    assert silent == ["namex"]  # the package itself does not say
    refs = {c["bom-ref"] for c in bom["components"]}
    assert all(set(entry["dependsOn"]) <= refs for entry in bom["dependencies"])


def test_in_toto_accepts_the_provenance(release_once: Path) -> None:
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement

    index = json.loads((release_once / "release.json").read_text())
    files = sorted((release_once / "provenance").iterdir())
    assert len(files) == 6
    for file in files:
        statement = Statement.copy_from_pb(json_format.Parse(file.read_text(), statement_pb2.Statement()))
        statement.validate()
        definition = json.loads(file.read_text())["predicate"]["buildDefinition"]
        assert definition["resolvedDependencies"][0]["digest"] == {"gitCommit": index["commit"]}
        assert definition["externalParameters"]["parameters"] in ({"upsampling": "nearest"}, {"upsampling": "bilinear"})


def test_hugging_face_reads_the_cards(release_once: Path) -> None:
    from huggingface_hub import ModelCard

    for name in ("demo_nearest", "demo_bilinear"):
        card = ModelCard((release_once / f"cards/{name}.md").read_text())
        assert card.data.license == "mit"
        assert card.data.pipeline_tag == "image-classification"
        assert card.data.model_name == name
        values = {result.metric_name: result.metric_value for result in card.data.eval_results}
        assert sorted(values) == ["Top-1 (%) float32", "Top-1 (%) int8"]
        assert "## Introduction" in card.text


## Refused


def test_every_reason_is_named_at_once(ready: Checkout) -> None:
    manifest = ready.root / "artifacts/demo_nearest/manifest.json"
    facts = json.loads(manifest.read_text())
    facts["validation"]["models"][0]["check"]["verdict"] = "FIXED_OUTPUT"
    del facts["validation"]["models"][1]
    facts["evaluation"]["variants"]["int8"]["accuracy"] = 12.5
    facts["evaluation"]["variants"]["int8"]["sha256"] = "ab" * 32
    facts["sources"]["weights"] = {
        "name": "mine.h5", "sha256": "cd" * 32, "size": 1, "pinned": True, "own": True, "licence": ""
    }  # fmt: skip
    manifest.write_text(json.dumps(facts))
    ready.change("recipes/demo/recipe.toml", "int8 = 0\n", "int8 = 20\n")
    ready.change("recipes/mnist/recipe.toml", 'sha256 = "3552534a', '# "3552534a')
    (ready.root / "stray.txt").write_text("")
    done = ready.doit("release", "version=1.0.0", "models=demo_nearest,mnist_nearest")
    assert done.returncode != 0
    reasons = [line.strip() for line in done.stderr.splitlines()]
    changed = "recipes/demo/recipe.toml, recipes/mnist/recipe.toml"
    unpinned = "the source train-labels-idx1-ubyte.gz is unpinned: put its sha256 into recipes/mnist/recipe.toml"
    for reason in (
        "error: release: release 1.0.0: refused, for 10 reasons:",
        f"the tree is not clean: commit or restore {changed}",
        "git does not track stray.txt: commit it, move it out of the checkout, or add it to .gitignore",
        "demo_nearest: not built, or not what this checkout builds: doit demo_nearest",
        "demo_nearest: demo_nearest_float32.tflite: validation failed: FIXED_OUTPUT",
        "demo_nearest: demo_nearest_int8.tflite: was not validated",
        "demo_nearest: int8: 12.50 % top-1 is below the gate of 20.0 %",
        "demo_nearest: mine.h5 are user-supplied weights without a licence: state it with weights_licence=NAME",
        "mnist_nearest: not built, or not what this checkout builds: doit mnist_nearest",
        f"mnist_nearest: {unpinned}: sources.train_labels",
    ):
        assert reason in reasons, done.stderr
    assert f"demo_nearest_int8.tflite: sha256 {'ab' * 32}, but artifacts.lock has " in done.stderr
    assert not (ready.root / "release").exists()


@pytest.mark.parametrize("staged", [False, True])
def test_nobody_is_told_to_commit_a_private_key(ready: Checkout, keys: Keys, staged: bool) -> None:
    for name in ("release.key", "notes.txt"):  # told by what is in it
        shutil.copy(keys.private, ready.root / name)
    (ready.root / "empty").write_text("")
    if staged:
        git(ready, "add", "-f", "release.key", "notes.txt", "empty")
    done = ready.doit("release", "version=1.0.0", "models=demo_nearest", f"key={ready.root / 'release.key'}")
    assert done.returncode != 0
    for name in ("release.key", "notes.txt"):
        said = f"{name} holds a private key, which must not be committed: move it out of the checkout"
        assert said in done.stderr or (name == "release.key" and name not in done.stderr)  # where keys are ignored
    assert "git does not track empty: commit it, move it out of the checkout, or add it to .gitignore" in done.stderr
    assert "commit or restore" not in done.stderr


def test_what_is_not_locked_is_refused(ready: Checkout) -> None:
    (ready.root / "artifacts.lock").unlink()
    commit(ready)
    done = ready.doit("release", "version=1.0.0", "models=demo_nearest")
    assert "refused, for 1 reason:" in done.stderr
    assert "demo_nearest: is not in artifacts.lock: doit lock" in done.stderr


def test_a_folder_without_git_is_refused(ready: Checkout) -> None:
    shutil.rmtree(ready.root / ".git")
    ceiling = {"GIT_CEILING_DIRECTORIES": str(ready.root.parent)}
    done = ready.doit("release", "version=1.0.0", "models=demo_nearest", env=ceiling)
    assert "git cannot tell the state of the checkout" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("version", ["", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0+x", "../1.0.0", "1.0.0 ", "1.0.0-"])
def test_a_wrong_version_is_refused(ready_once: Checkout, version: str) -> None:
    done = ready_once.run(sys.executable, "-m", "utils.release", "release", f"version={version}")
    assert done.returncode == 10
    assert "version=: " in done.stderr
    assert "https://semver.org" in done.stderr
    assert not (ready_once.root / "release").exists()


def test_an_existing_version_is_refused_and_forced(ready: Checkout) -> None:
    assert ready.doit("release", "version=1.0.0-rc.1", "models=demo_nearest").returncode == 0
    again = ready.doit("release", "version=1.0.0-rc.1", "models=demo_bilinear")
    assert again.returncode != 0
    assert "release/1.0.0-rc.1: this release exists" in again.stderr
    assert (ready.root / "release/1.0.0-rc.1/demo_nearest-1.0.0-rc.1.tar.gz").is_file()
    assert ready.doit("release", "--force", "version=1.0.0-rc.1", "models=demo_bilinear").returncode == 0
    assert [f.name for f in (ready.root / "release/1.0.0-rc.1").glob("*.tar.gz")] == ["demo_bilinear-1.0.0-rc.1.tar.gz"]
    assert [f.name for f in (ready.root / "release").iterdir()] == ["1.0.0-rc.1"]
    assert not git(ready, "status", "--porcelain")


def test_two_that_make_one_version_at_once(ready: Checkout) -> None:
    """One of them does; the other is refused, and takes away nothing but its own."""
    command = [sys.executable, "-m", "utils.release", "release", "version=1.0.0", "models=demo_nearest"]
    running = [
        subprocess.Popen(command, cwd=ready.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate()[1] for process in running]
    assert sorted(process.returncode for process in running) == [0, 10, 10], said
    assert sum("release/1.0.0: this release exists" in text for text in said) == 2
    assert [folder.name for folder in (ready.root / "release").iterdir()] == ["1.0.0"]
    assert check.check(ready.root / "release/1.0.0", None)


def test_a_release_in_the_making_is_left_alone(ready: Checkout) -> None:
    """Another version that is made meanwhile does not take its staging folder away."""
    (ready.root / "release").mkdir()
    with files.staging(ready.root / "release", ".new.") as ours:
        assert ready.doit("release", "version=1.0.0", "models=demo_nearest").returncode == 0
        assert ours.folder.is_dir()
    assert [folder.name for folder in (ready.root / "release").iterdir()] == ["1.0.0"]


def test_a_release_that_was_killed_while_replacing_is_not_lost(ready: Checkout) -> None:
    """Where folders cannot be exchanged, the old one stands aside for a moment."""
    assert ready.doit("release", "version=1.0.0", "models=demo_nearest").returncode == 0
    before = tree(ready.root / "release/1.0.0")
    (ready.root / "release/1.0.0").rename(ready.root / "release/.1.0.0.old")
    again = ready.doit("release", "version=1.0.0", "models=demo_bilinear")
    assert "release/1.0.0: this release exists" in again.stderr
    assert tree(ready.root / "release") == {f"1.0.0/{name}": data for name, data in before.items()}


def test_a_forced_release_that_was_killed_while_replacing_is_made_again(ready: Checkout) -> None:
    assert ready.doit("release", "version=1.0.0", "models=demo_nearest").returncode == 0
    before = tree(ready.root / "release/1.0.0")
    (ready.root / "release/1.0.0").rename(ready.root / "release/.1.0.0.old")
    assert ready.doit("release", "--force", "version=1.0.0", "models=demo_nearest").returncode == 0
    assert tree(ready.root / "release") == {f"1.0.0/{name}": data for name, data in before.items()}


def test_what_another_run_has_put_aside_for_a_moment_is_left_alone(ready: Checkout) -> None:
    """It holds the lock: to bring its old folder back would keep its new one out."""
    (ready.root / "release/.1.0.0.old").mkdir(parents=True)
    (ready.root / "stray.txt").write_text("")  # refused before the lock is taken
    with files.locked_folder(ready.root / "release"):
        done = ready.doit("release", "version=1.0.0", "models=demo_nearest")
    assert "refused, for 1 reason" in done.stderr
    assert [entry.name for entry in (ready.root / "release").iterdir()] == [".1.0.0.old"]


P256 = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (None, "the key file does not exist"),
        (b"hello", "is not a private key in PEM"),
        ("readable", "others can read this key (mode 640)"),
        ("password", "this key has a password"),
        (rsa.generate_private_key(65537, 2048), "is a key of another type (RSAPrivateKey), not EC P-256"),
        (ed25519.Ed25519PrivateKey.generate(), "is a key of another type (Ed25519PrivateKey), not EC P-256"),
        (ec.generate_private_key(ec.SECP384R1()), "of another type (secp384r1), not EC P-256"),
    ],
)
def test_a_key_that_will_not_do_is_refused_before_any_work(
    ready_once: Checkout, tmp_path: Path, key: Any, said: str
) -> None:
    file = tmp_path / "key"
    if isinstance(key, bytes):
        file.write_bytes(key)
        file.chmod(0o600)
    elif isinstance(key, str):
        write_private(file, P256, "x" if key == "password" else "")
        file.chmod(0o600 if key == "password" else 0o640)
    elif key:
        write_private(file, key)
    done = ready_once.run(sys.executable, "-m", "utils.release", "release", "version=1.0.0", DEMO, f"key={file}")
    assert done.returncode == 10
    assert f"key={file}: " in done.stderr
    assert said in done.stderr
    assert not (ready_once.root / "release").exists()


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
@pytest.mark.parametrize("more", [["-noout"], []])
def test_a_key_as_the_readme_makes_it_will_do(tmp_path: Path, more: list[str]) -> None:
    key, public = tmp_path / "key", tmp_path / "pub"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", *more, "-out", key], check=True)
    key.chmod(0o600)
    subprocess.run(["openssl", "ec", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("text")
    signature = tmp_path / "folder" / sign.SIGNATURE
    sign.sign(tmp_path / "folder", signature, key)
    assert sign.verify(tmp_path / "folder", signature, public) == []


def test_a_full_disk_leaves_no_release(ready_once: Checkout, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no right to mount a tmpfs")
    try:
        there = copy(ready_once, disk / "zoo")
        ballast = disk / "ballast"
        assert there.doit("list").returncode == 0  # what it remembers of the code is written
        ballast.write_bytes(bytes(max(shutil.disk_usage(disk).free - 450_000, 0)))
        done = there.doit("release", "version=1.0.0", DEMO)
        assert done.returncode != 0
        assert "no space left on the disk" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert list((there.root / "release").iterdir()) == []
        ballast.unlink()
        assert there.doit("release", "version=1.0.0", DEMO).returncode == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_a_killed_release_leaves_nothing_that_looks_whole(ready: Checkout) -> None:
    """What it left is taken away by the next one."""
    release = ready.root / "release"
    (release / ".new.killed/1.0.0").mkdir(parents=True)
    (release / ".new.killed/1.0.0/bom.json").write_text("{")
    assert ready.doit("release", "version=1.0.0", "models=demo_nearest").returncode == 0
    assert [folder.name for folder in release.iterdir()] == ["1.0.0"]
    assert ready.doit("release:check", "path=release/1.0.0").returncode == 0


def test_a_release_of_steps_that_ran_says_so(release_once: Path) -> None:
    steps = json.loads((release_once / "provenance/demo_nearest_int8.tflite.json").read_text())
    found = steps["predicate"]["runDetails"]["byproducts"]
    assert [step["annotations"] for step in found] == [{"made": "run"}] * len(found)
    assert [step["name"] for step in found if "digest" not in step] == ["step card"]
