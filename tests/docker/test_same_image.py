"""What the image is made of: locked packages of Debian, compiled files, and layers that every build makes the same."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.docker.conftest import (
    DOCKER,
    INSIDE,
    OTHER_UID,
    ROOT,
    Site,
    checkout,
    docker,
    environment,
    in_image,
    run,
    with_client,
)
from tests.support import servers
from utils.release import sbom

# The lock


LINE = re.compile(r"(base|tools|compiler) ([a-z0-9.+-]+) (\S+) ([0-9a-f]{64}) (\d+) (pool/(?:updates/)?main/\S+\.deb)")


def locked() -> list[re.Match[str]]:
    lines = (DOCKER / "debian.txt").read_text().splitlines()
    found = [LINE.fullmatch(line) for line in lines if not line.startswith("#")]
    assert all(found)
    return [one for one in found if one]


def test_debians_lock_is_complete_and_says_nothing_of_where_it_was_made() -> None:
    text = (DOCKER / "debian.txt").read_text()
    assert text.startswith("# Made by docker/lock-debian from debian.in:")
    assert re.search(r"^# SOURCE_DATE_EPOCH 1\d{9}$", text, re.MULTILINE)
    assert re.search(r"^# snapshot 20\d{6}T\d{6}Z$", text, re.MULTILINE)
    assert "://" not in text
    names = [one[2] for one in locked()]
    assert len(names) == len(set(names))
    asked = [line.split("#")[0].split() for line in (DOCKER / "debian.in").read_text().splitlines()]
    for group, *wanted in filter(None, asked):
        assert set(wanted) <= {one[2] for one in locked() if one[1] == group}
    assert {"dpkg", "libc6", "bash"} <= {one[2] for one in locked() if one[1] == "base"}


def test_lock_debian_refuses_what_it_does_not_know() -> None:
    done = run([DOCKER / "lock-debian", "--upgrade"])
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown argument '--upgrade'" in done.stderr


# Fetching


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A docker/ whose lock has two packages of our own, one of them of the security archive."""
    folder = tmp_path / "docker"
    folder.mkdir()
    shutil.copy(DOCKER / "fetch-debs", folder)
    rows = [("one", "pool/main/o/one_1_all.deb"), ("two", "pool/updates/main/t/two_1_all.deb")]
    lines = [f"base {name} 1 {hashlib.sha256(name.encode()).hexdigest()} {len(name)} {path}\n" for name, path in rows]
    (folder / "debian.txt").write_text("# snapshot 20260101T000000Z\n" + "".join(lines))
    return folder


def fetch(packages: Path, **env: str) -> subprocess.CompletedProcess[str]:
    nowhere = dict.fromkeys(("DEBIAN_MIRROR", "DEBIAN_SECURITY_MIRROR", "DEBIAN_SNAPSHOT"), "http://127.0.0.1:9")
    settings = {**nowhere, "http_proxy": None, "HTTP_PROXY": None, **env}
    return run([packages / "fetch-debs", packages / "debs", "base"], **settings)


def fetched(packages: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in (packages / "debs").iterdir()}


def test_packages_come_from_a_folder_by_name_or_by_hash(packages: Path, tmp_path: Path) -> None:
    given = tmp_path / "mirror"
    given.mkdir()
    (given / hashlib.sha256(b"one").hexdigest()).write_text("one")
    (given / "two_1_all.deb").write_text("two")
    done = fetch(packages, DEBS=str(given))
    assert done.returncode == 0, done.stderr
    assert fetched(packages) == {"one_1_all.deb": "one", "two_1_all.deb": "two"}


def test_packages_come_from_their_archive_or_from_the_snapshot(packages: Path) -> None:
    with servers.serving() as server:
        server.on("/debian/pool/main/o/one_1_all.deb", servers.body(b"one"))
        server.on("/debian-security/pool/updates/main/t/two_1_all.deb", servers.status(404))
        kept = "/snapshot/debian-security/20260101T000000Z/pool/updates/main/t/two_1_all.deb"
        top = server.on(kept, servers.body(b"two")).removesuffix(kept)
        done = fetch(
            packages,
            DEBIAN_MIRROR=f"{top}/debian",
            DEBIAN_SECURITY_MIRROR=f"{top}/debian-security",
            DEBIAN_SNAPSHOT=f"{top}/snapshot",
        )
    assert done.returncode == 0, done.stderr
    assert fetched(packages) == {"one_1_all.deb": "one", "two_1_all.deb": "two"}


def test_another_package_under_the_name_is_refused(packages: Path, tmp_path: Path) -> None:
    given = tmp_path / "mirror"
    given.mkdir()
    (given / "one_1_all.deb").write_text("evil")
    (given / hashlib.sha256(b"two").hexdigest()).write_text("two")
    done = fetch(packages, DEBS=str(given))
    assert done.returncode == 1
    assert "cannot get one_1_all.deb with the sha256 of docker/debian.txt" in done.stderr
    assert "one_1_all.deb" not in fetched(packages)


def test_a_group_that_is_not_there_is_named(packages: Path) -> None:
    done = run([packages / "fetch-debs", packages / "debs", "bass"])
    assert (done.returncode, done.stderr) == (1, "fetch-debs: debian.txt has no group 'bass'\n")


# Compiling


def test_compiled_files_are_the_same_in_every_build(tmp_path: Path) -> None:
    made = []
    every = sorted(os.sched_getaffinity(0))
    for number, cores in enumerate((str(every[0]), ",".join(map(str, every)))):
        folder = tmp_path / "lib"
        shutil.copytree(ROOT / "utils", folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "template.py").write_text("{{ no Python }}\n")
        (folder / "__pycache__").mkdir()
        (folder / f"__pycache__/old.cpython-{number}.pyc").write_bytes(b"with a time in it")
        command = ["taskset", "--cpu-list", cores, sys.executable, DOCKER / "compile.py", folder]
        subprocess.run(command, check=True, env=environment(PYTHONHASHSEED=str(number)))
        made.append({file.relative_to(folder): file.read_bytes() for file in sorted(folder.rglob("*.pyc"))})
        shutil.rmtree(folder)
    assert made[0] == made[1]
    names = {file.name.partition(".")[0] for file in made[0]}
    assert {"paths", "tflite", "verify"} <= names
    assert not {"template", "old"} & names
    assert {data[4] for data in made[0].values()} == {1}  # by hash, and nobody looks: PEP 552


# Wheels


def test_wheels_of_locks_are_downloaded_for_the_image(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    hashes = {}
    for name, tag in (
        ("one", "py3-none-any"),
        ("two", "cp311-cp311-manylinux_2_28_x86_64"),
        ("playwright", "py3-none-any"),
    ):
        wheel = shelf / f"{name}-1.0-{tag}.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            archive.writestr(f"{name}-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
            archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
        hashes[name] = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = tmp_path / "lock.txt"
    lock.write_text("# made\n" + "".join(f"{name}==1.0 --hash=sha256:{value}\n" for name, value in hashes.items()))
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(shelf), "PIP_CONFIG_FILE": os.devnull}
    done = run([sys.executable, DOCKER / "get_wheels.py", tmp_path / "got", lock], **env)
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in (tmp_path / "got").iterdir()) == [
        "one-1.0-py3-none-any.whl",
        "two-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    ]
    lock.write_text(lock.read_text().replace(hashes["one"], "0" * 64))
    done = run([sys.executable, DOCKER / "get_wheels.py", tmp_path / "again", lock], **env)
    assert done.returncode != 0
    assert "HASH" in done.stderr.upper()


# What docker/run builds


@pytest.mark.skipif(INSIDE, reason="inside the image: docker/run asks no daemon")
@pytest.mark.parametrize(
    ("line", "is_for_tests"),
    [("true", False), ("doit list", False), ("pytest -m fast", True), ("python -m pytest", True), ("mypy", True)],
)
def test_what_tests_need_is_in_an_image_of_its_own(line: str, is_for_tests: bool, tmp_path: Path, client: Path) -> None:
    done = run([checkout(tmp_path / "zoo") / "docker/run", *line.split()], **with_client(client))
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert ("--target" in said) == is_for_tests
    assert f"building nxp-model-zoo{'-test' if is_for_tests else ''}-build:" in done.stderr


@pytest.mark.docker
@pytest.mark.skipif(INSIDE, reason="inside the image: no daemon to drive")
def test_the_build_gets_what_the_mirror_has_of_packages(site: Site, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    rows = ["sha256\tsize\tname\turl\tlicence\twhat"]
    for name in ("one_1_all.deb", "two-1.0-py3-none-any.whl", "images.zip", "../evil.deb"):
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        (mirror / sha256).write_text(name)
        rows.append(f"{sha256}\t1\t{name}\turl\tMIT\twhat")
    (mirror / "INDEX.tsv").write_text("\n".join(rows) + "\n")
    site.dockerfile("COPY docker/debian.txt docker/deb[s] docker/wheel[s] /given/")
    out, built, said = site.run("sh", "-c", "cd /given; ls", BASE_IMAGE=site.base, ZOO_MIRROR=str(mirror))
    assert built, said
    assert out.split() == ["debian.txt", "one_1_all.deb", "two-1.0-py3-none-any.whl"]
    assert not (site.root / "docker/debs").exists()


# verify image=1


def commit(folder: Path) -> None:
    env = environment(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull)
    settings = ["-c", "user.name=tests", "-c", "user.email=tests@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run(["git", *settings, *words], cwd=folder, env=env, check=True)


@pytest.mark.docker
@pytest.mark.skipif(INSIDE, reason="inside the image: no daemon to drive")
def test_an_image_that_differs_is_named_by_its_files(site: Site) -> None:
    site.dockerfile("RUN echo same >/same; touch -d @0 /same /; cat /proc/sys/kernel/random/uuid >/made")
    commit(site.root)
    words = [site.root / "docker/run", "doit", "verify", "image=1"]
    done = run(words, ZOO_DOCKER="1", BASE_IMAGE=site.base)
    assert done.returncode == 10, done.stderr
    assert re.search(r"^  /made: content(, time)?$", done.stdout, re.MULTILINE), done.stdout
    assert "/same" not in done.stdout
    assert "is not what" in done.stderr
    with (site.root / "docker/Dockerfile").open("a") as file:
        file.write("# more\n")
    done = run(words, ZOO_DOCKER="1", BASE_IMAGE=site.base)
    assert (done.returncode, done.stdout) == (1, "")
    assert "docker/ has changes that are not committed" in done.stderr


@pytest.mark.docker
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("image")
def test_two_builds_have_the_same_layers() -> None:
    """The second one without Docker's cache, on a machine of another name."""
    command: list[str | Path] = [DOCKER / "run", "doit", "verify", "image=1"]
    if os.getuid() == 0:
        command = ["unshare", "--uts", "sh", "-c", 'hostname another; exec "$@"', "-", *command]
    done = run(command, ZOO_DOCKER="1")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert re.match(r"image: identical, \d+ layers, built again from [0-9a-f]{12} without the cache\n", done.stdout)


# What is in it


@pytest.mark.docker
def test_the_image_says_what_it_is_made_of(image: str) -> None:
    bom = sbom.parse(in_image(image, "cat", "/opt/bom.json").stdout.encode())
    found = {one["purl"]: one for one in bom["components"]}
    names = {one["name"] for one in found.values()}
    assert {"tensorflow-cpu", "ethos-u-vela", "doit", "model-signing", "git", "libc6", "tini"} <= names
    assert not {"pytest", "ruff", "mypy"} & names
    for one in locked():
        if one[1] == "tools":
            purls = [purl for purl in found if purl.startswith(f"pkg:deb/debian/{one[2].replace('+', '%2B')}@")]
            assert len(purls) == 1
            assert found[purls[0]]["hashes"] == [{"alg": "SHA-256", "content": one[4]}]


@pytest.mark.docker
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to another owner")
def test_a_container_may_be_without_rights_network_and_room(image: str, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    shutil.copytree(ROOT, zoo, ignore=shutil.ignore_patterns(".git", "build", "artifacts", "release", "__pycache__"))
    (zoo / "artifacts").mkdir()
    for path in (zoo, *zoo.rglob("*")):
        os.chown(path, OTHER_UID, OTHER_UID)
    for folder in (zoo, *zoo.parents):
        if folder == Path("/tmp"):
            break
        folder.chmod(0o755)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    done = docker(
        "run", "--rm", "--read-only", "--network", "none", "--cap-drop", "ALL", "--user", f"{OTHER_UID}:{OTHER_UID}",
        "--tmpfs", "/tmp", "-v", f"{zoo}:/workspace", "-v", f"{mirror}:/mirror:ro", "-e", "ZOO_MIRROR=/mirror",
        image, "doit", "demo_nearest",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    made = json.loads((zoo / "artifacts/demo_nearest/manifest.json").read_text())
    assert made["name"] == "demo_nearest"
    assert (zoo / "artifacts/demo_nearest/manifest.json").stat().st_uid == OTHER_UID
