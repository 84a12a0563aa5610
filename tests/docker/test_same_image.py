"""What the image is made of: locked packages of Debian, compiled files, and layers that every build makes the same."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
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
    files = [one[6] for one in locked()]
    assert len(files) == len(set(files))
    machines = {file.removesuffix(".deb").rpartition("_")[2] for file in files}
    assert machines == {"all", "amd64", "arm64"}
    for machine in ("amd64", "arm64"):  # fixes of security are not left out in silence
        assert any(file.startswith("pool/updates/") and file.endswith(f"_{machine}.deb") for file in files)
    asked = [line.split("#")[0].split() for line in (DOCKER / "debian.in").read_text().splitlines()]
    for group, *wanted in filter(None, asked):
        assert set(wanted) <= {one[2] for one in locked() if one[1] == group}
    assert {"dpkg", "libc6", "bash"} <= {one[2] for one in locked() if one[1] == "base"}


def test_lock_debian_refuses_what_it_does_not_know() -> None:
    done = run([DOCKER / "lock-debian", "--upgrade"])
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown argument '--upgrade'" in done.stderr


def test_an_archive_that_cannot_be_reached_makes_no_lock(tmp_path: Path) -> None:
    folder = tmp_path / "docker"
    folder.mkdir()
    for name in ("lock-debian", "debian.in", "debian.txt"):
        shutil.copy(DOCKER / name, folder)
    keyring = tmp_path / "keys.gpg"
    keyring.touch()
    nowhere = dict.fromkeys(("DEBIAN_MIRROR", "DEBIAN_SECURITY_MIRROR"), "http://127.0.0.1:9/debian")
    done = run([folder / "lock-debian"], **nowhere, DEBIAN_KEYRING=str(keyring), http_proxy=None, HTTP_PROXY=None)
    assert done.returncode == 1
    assert "lock-debian: an index of Debian cannot be had" in done.stderr
    assert (folder / "debian.txt").read_text() == (DOCKER / "debian.txt").read_text()


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
    assert f"{given}/one_1_all.deb has the sha256 {hashlib.sha256(b'evil').hexdigest()}" in done.stderr
    assert "one_1_all.deb" not in fetched(packages)


def test_what_is_wrong_is_said_before_it_ends(packages: Path, tmp_path: Path) -> None:
    """Also on a busy machine, where what passes it on comes late."""
    (packages / hashlib.sha256(b"two").hexdigest()).write_text("two")
    copies = [shutil.copytree(packages, tmp_path / f"copy{number}") for number in range(16)]
    with ThreadPoolExecutor(len(copies)) as pool:
        for done in pool.map(lambda copy: fetch(copy, DEBS=str(packages)), copies):
            assert done.returncode == 1
            assert "cannot get one_1_all.deb with the sha256 of docker/debian.txt" in done.stderr
            assert "xargs" not in done.stderr


def test_packages_of_the_architecture_are_fetched(packages: Path, tmp_path: Path) -> None:
    lock = packages / "debian.txt"
    lock.write_text(lock.read_text().replace("two_1_all", "two_1_arm64"))
    given = tmp_path / "mirror"
    given.mkdir()
    for word in ("one", "two"):
        (given / hashlib.sha256(word.encode()).hexdigest()).write_text(word)
    assert fetch(packages, DEBS=str(given)).returncode == 0
    assert fetched(packages).keys() == {"one_1_all.deb"}
    assert fetch(packages, DEBS=str(given), DEBIAN_ARCH="arm64").returncode == 0
    assert fetched(packages).keys() == {"one_1_all.deb", "two_1_arm64.deb"}


def test_downloads_end_with_the_script_that_is_killed(packages: Path) -> None:
    with servers.serving() as server:
        path = "/pool/main/o/one_1_all.deb"
        server.on("/pool/updates/main/t/two_1_all.deb", servers.stall(b"two", 1, 600))
        top = server.on(path, servers.stall(b"one", 1, 600)).removesuffix(path)
        env = environment(**dict.fromkeys(("DEBIAN_MIRROR", "DEBIAN_SECURITY_MIRROR", "DEBIAN_SNAPSHOT"), top))
        for name in ("http_proxy", "HTTP_PROXY"):
            env.pop(name, None)
        script = subprocess.Popen([packages / "fetch-debs", packages / "debs", "base"], env=env, stderr=subprocess.PIPE)
        while not any(request.path == path for request in server.requests):
            time.sleep(0.05)
        script.terminate()
        script.communicate(timeout=30)  # a download that goes on would keep its end of the pipe
        assert script.returncode == 143


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


def test_a_part_that_is_killed_is_no_success(tmp_path: Path) -> None:
    """As where memory runs out."""
    (tmp_path / "compile.py").write_text(
        (DOCKER / "compile.py").read_text().replace("def compile_file(name: str) -> None:\n", KILLED)
    )
    (tmp_path / "module.py").write_text("x = 1\n")
    assert run([sys.executable, tmp_path / "compile.py", tmp_path]).returncode == 1


KILLED = """\
def compile_file(name: str) -> None:
    os.kill(os.getpid(), 9)
"""


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
    lines = [f"{name}==1.0 --hash=sha256:{value}\n" for name, value in hashes.items()]
    # Markers ask the image's machine, and not this one.
    lines += ["three==1.0 ; platform_machine != 'x86_64' --hash=sha256:" + "0" * 64 + "\n"]
    lines[0] = lines[0].replace(" --hash", " ; python_full_version < '3.12' \\\n    --hash")
    lock.write_text("# made\n" + "".join(lines))
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(shelf), "PIP_CONFIG_FILE": os.devnull}
    done = run([sys.executable, DOCKER / "get_wheels.py", tmp_path / "got", lock], **env)
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in (tmp_path / "got").iterdir()) == [
        "one-1.0-py3-none-any.whl",
        "two-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    ]
    assert not (DOCKER / "__pycache__").exists()
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
        if one[1] == "tools" and not one[6].endswith("_arm64.deb"):
            purls = [purl for purl in found if purl.startswith(f"pkg:deb/debian/{one[2].replace('+', '%2B')}@")]
            assert len(purls) == 1
            assert found[purls[0]]["hashes"] == [{"alg": "SHA-256", "content": one[4]}]


@pytest.mark.docker
def test_what_docker_mounts_is_left_alone(image: str, tmp_path: Path) -> None:
    """/sys has the time at which the machine was started, which is later than the lock's on most machines."""
    for name in ("settle", "debian.txt"):
        shutil.copy(DOCKER / name, tmp_path)
    (tmp_path / "sys").mkdir()
    words = ["--entrypoint", "bash", "-v", f"{tmp_path}:/mnt:ro", "-v", f"{tmp_path}/sys:/sys:ro"]
    done = docker("run", "--rm", "--network", "none", *words, image, "/mnt/settle")
    assert done.returncode == 0, done.stderr


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
    assert made["model"] == "demo_nearest"
    assert (zoo / "artifacts/demo_nearest/manifest.json").stat().st_uid == OTHER_UID
