"""``python -m utils.catalogue``: what it writes and says, what it refuses, and who can see what it serves."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.support.bundles import add_vela, make_bundle
from tests.support.checkouts import Checkout, clean_env, copy_project
from tests.support.sites import served

OFFLINE = {"ZOO_OFFLINE": "1"}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with three bundles, one of them damaged."""
    found = copy_project(tmp_path_factory.mktemp("catalogue") / "zoo")
    for name in ("pets", "cars", "birds"):
        add_vela(make_bundle(found.root / "artifacts" / name))
    (found.root / "artifacts/birds/model.json").write_bytes(b"{}")
    return found


def catalogue(zoo: Checkout, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = zoo.run(sys.executable, "-m", "utils.catalogue", *words, env=env or OFFLINE, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def tree(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_site_is_written_and_what_is_damaged_is_named(zoo: Checkout, tmp_path: Path) -> None:
    done = catalogue(zoo, f"--to={tmp_path}/one")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path}/one/index.html: 3 models\n"
    assert "damaged: birds: model.json: changed after the build -> doit birds builds it again\n" in done.stderr
    found = tree(tmp_path / "one")
    assert {"index.html", "catalogue.json", "models/pets.html", "models/birds.html"} <= found.keys()
    models = {model["name"]: model for model in json.loads(found["catalogue.json"])["models"]}
    assert models["birds"]["damaged"]
    assert models["pets"]["picture"] in found
    assert b"birds" in found["index.html"]
    assert b"<svg" in found["index.html"]
    assert b"<svg" in found["models/pets.html"]


def test_made_twice_no_byte_differs(zoo: Checkout, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert catalogue(zoo, f"--to={tmp_path}/{name}").returncode == 0
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    before = tree(tmp_path / "one")
    assert catalogue(zoo, f"--to={tmp_path}/one").returncode == 0  # a site is replaced
    assert tree(tmp_path / "one") == before


def test_files_go_along_when_asked(zoo: Checkout, tmp_path: Path) -> None:
    assert catalogue(zoo, f"--to={tmp_path}/site", "--files=1").returncode == 0
    model = zoo.root / "artifacts/pets/pets_int8.tflite"
    assert (tmp_path / "site/models/pets/pets_int8.tflite").read_bytes() == model.read_bytes()


def test_a_site_without_bundles(tmp_path: Path) -> None:
    zoo = copy_project(tmp_path / "zoo")
    done = catalogue(zoo)
    assert done.returncode == 0, done.stderr
    assert "artifacts/ has no bundles yet: doit demo builds two" in done.stdout
    assert (zoo.root / "site/index.html").is_file()


def test_what_moved_since_a_release(zoo: Checkout, tmp_path: Path) -> None:
    assert catalogue(zoo, f"--to={tmp_path}/release/site").returncode == 0
    done = catalogue(zoo, f"--to={tmp_path}/site", f"--previous={tmp_path}/release")
    assert done.returncode == 0, done.stderr
    models = {model["name"]: model for model in json.loads((tmp_path / "site/catalogue.json").read_text())["models"]}
    assert models["pets"]["previous"]["variants"]["int8"]["same"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--serve=eighty"], 2, "'eighty' is no port"),
        (["--serve=65536"], 2, "'65536' is no port"),
        (["--serve="], 2, "'' is no port"),
        (["--to="], 2, "no to given"),
        (["--previous="], 2, "no previous given"),
        (["--previous=nowhere"], 5, "name the folder of a release that has a site"),
        (["--to=recipes"], 6, "is not a site: it is not replaced"),
    ],
)
def test_what_is_refused(words: list[str], code: int, said: str, zoo: Checkout) -> None:
    recipes = tree(zoo.root / "recipes")
    done = catalogue(zoo, *words)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "-> " in done.stderr
    assert tree(zoo.root / "recipes") == recipes


def test_where_npm_does_not_answer_the_rest_is_made_soon(zoo: Checkout, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        env = {"ZOO_NPM": address, "ZOO_CACHE": str(tmp_path / "cache"), "ZOO_MIRROR": "", "ZOO_OFFLINE": ""}
        done = catalogue(zoo, f"--to={tmp_path}/site", env=env)
    assert done.returncode == 0, done.stderr
    assert '\nmade without "try it": 2 sources cannot be had' in f"\n{done.stderr}"
    assert re.search(r"\n-> .*ZOO_MIRROR", done.stderr)
    assert "(2 tries)" in done.stderr
    assert (tmp_path / "site/index.html").is_file()


def test_serve_answers_on_loopback_until_ctrl_c(zoo: Checkout, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "utils.catalogue", f"--to={tmp_path}/site", "--serve=0"],
        cwd=zoo.root, env=clean_env() | OFFLINE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends it\)\n", lines[1])
        assert found, lines
        base = f"http://127.0.0.1:{found[1]}"
        with urllib.request.urlopen(f"{base}/catalogue.json", timeout=10) as answer:
            assert len(json.load(answer)["models"]) == 3
        with urllib.request.urlopen(f"{base}/catalogue.js", timeout=10) as answer:
            assert answer.headers["Content-Type"] == "text/javascript"
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            urllib.request.urlopen(f"{base}/../../etc/passwd", timeout=10)
        caught.value.close()
        table = Path("/proc/net/tcp").read_text().splitlines()[1:]
        listens = [row.split()[1] for row in table if row.split()[3] == "0A"]
        assert f"0100007F:{int(found[1]):04X}" in listens
        assert f"00000000:{int(found[1]):04X}" not in listens
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_a_browser_that_hangs_up_is_no_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(16 << 20))
    with served(tmp_path) as base, socket.socket() as visitor:
        visitor.connect(("127.0.0.1", urllib.parse.urlsplit(base).port))
        visitor.sendall(b"GET /large.bin HTTP/1.0\r\n\r\n")
        visitor.recv(100)
        visitor.close()  # in the middle of the answer
    for answering in threading.enumerate():
        if answering.name.endswith("(process_request_thread)"):
            answering.join(10)
    assert capfd.readouterr().err == ""


def test_a_port_that_is_taken_is_named(zoo: Checkout, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = catalogue(zoo, f"--to={tmp_path}/site", f"--serve={port}")
    assert done.returncode == 6
    assert f"cannot serve on port {port}" in done.stderr
    assert "-> choose another port: serve=" in done.stderr


def test_doit_hands_its_words_on(zoo: Checkout, tmp_path: Path) -> None:
    done = zoo.doit("catalogue", f"to={tmp_path}/site", "files=1", env=OFFLINE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{tmp_path}/site/index.html: 3 models" in done.stdout
    assert (tmp_path / "site/models/pets/pets_int8.tflite").is_file()
    done = zoo.doit("catalogue", "port=8000", env=OFFLINE)
    assert done.returncode == 2
    assert "takes no port=" in done.stderr
