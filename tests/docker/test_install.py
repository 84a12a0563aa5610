"""docker/install.py: pip's settings, as uv takes them; and real installs from an index of our own."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import tomllib
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from tests.docker.conftest import DOCKER, environment, run

pytestmark = pytest.mark.heavy

SCRIPT = DOCKER / "install.py"
PASSWORD = "a%20secret"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    module = ModuleType("install")
    module.__file__ = str(SCRIPT)
    exec(compile(SCRIPT.read_text(), SCRIPT, "exec"), module.__dict__)  # as a program: nothing compiled is left there
    return module


# pip's settings


def settings_of(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **env: str) -> dict[str, str]:
    """What pip itself says of its settings, with no file but those of ``env``."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path), **env}.items():
        monkeypatch.setenv(name, value)
    pip = script.unpack_pip(tmp_path / "pip")
    return script.settings([sys.executable, "-I", "-B", str(pip)])


def test_settings_come_from_files_and_variables(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://one.invalid/simple\ntimeout = 7\ncert = /a/ca.pem\n"
        "[install]\nindex-url = https://two.invalid/simple\n[list]\nformat = columns\n"
        "[freeze]\ntimeout = 9\n"
    )
    found = settings_of(script, monkeypatch, tmp_path, PIP_CONFIG_FILE=str(file))
    assert found["index-url"] == "https://two.invalid/simple"
    assert (found["timeout"], found["cert"]) == ("7", "/a/ca.pem")
    assert "format" not in found
    found = settings_of(
        script, monkeypatch, tmp_path / "again", PIP_CONFIG_FILE=str(file), PIP_INDEX_URL="https://three.invalid/it's"
    )
    assert found["index-url"] == "https://three.invalid/it's"


def test_uv_is_told_what_pip_was_told(script: ModuleType, tmp_path: Path) -> None:
    for name in ("wheels", "index"):
        (tmp_path / name).mkdir()
    told = tomllib.loads(
        script.uv_config(
            {
                "index-url": f"https://me:{PASSWORD}@one.invalid/simple",
                "extra-index-url": f"https://two.invalid/s\nfile://{tmp_path}/index",
                "find-links": f"{tmp_path}/wheels /no/such https://three.invalid/wheels",
                "trusted-host": "one.invalid two.invalid:8443",
                "no-index": "false",
            }
        )
    )
    assert told == {
        "index-strategy": "unsafe-best-match",
        "index-url": f"https://me:{PASSWORD}@one.invalid/simple",
        "extra-index-url": ["https://two.invalid/s", f"file://{tmp_path}/index"],
        "find-links": [f"file://{tmp_path}/wheels", "https://three.invalid/wheels"],
        "allow-insecure-host": ["one.invalid", "two.invalid:8443"],
        "no-index": False,
    }
    assert tomllib.loads(script.uv_config({"no-index": "1"}))["no-index"] is True
    assert "index-url" not in tomllib.loads(script.uv_config({}))


def test_the_callers_uv_settings_do_not_count(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_INDEX_URL", "UV_NO_VERIFY_HASHES", "UV_PYTHON", "UV_CACHE_DIR", "UV_LINK_MODE"):
        monkeypatch.setenv(name, "/mine")
    monkeypatch.setenv("SSL_CERT_DIR", "/etc/ssl/certs")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    env = script.uv_environment({})
    assert {name for name in env if name.startswith("UV_")} - {"UV_SYSTEM_CERTS"} == {"UV_CACHE_DIR", "UV_LINK_MODE"}
    assert env["SSL_CERT_DIR"] == "/etc/ssl/certs"
    env = script.uv_environment(
        {
            "cert": "/a/ca.pem",
            "timeout": "7",
            "retries": "2",
            "proxy": "http://p:1",
            "cache-dir": "/c",
            "no-cache-dir": "1",
        }
    )
    assert env["SSL_CERT_FILE"] == "/a/ca.pem"
    assert "SSL_CERT_DIR" not in env  # pip trusts its cert, and nothing else
    assert (env["UV_HTTP_TIMEOUT"], env["UV_HTTP_RETRIES"], env["HTTPS_PROXY"]) == ("7", "2", "http://p:1")
    assert (env["UV_CACHE_DIR"], env["UV_NO_CACHE"]) == ("/mine", "1")
    monkeypatch.delenv("UV_CACHE_DIR")
    assert script.uv_environment({"cache-dir": "/c"})["UV_CACHE_DIR"] == "/c/uv"


def test_help_and_a_python_without_pip(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = run([sys.executable, SCRIPT, "--help"])
    assert done.returncode == 0
    assert done.stdout.startswith("usage: docker/install.py TOOLS")
    assert run([sys.executable, SCRIPT]).returncode == 2
    monkeypatch.setattr(script.sysconfig, "get_config_var", lambda _name: None)
    monkeypatch.setattr(script.ensurepip, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(SystemExit, match="has no pip -> apt-get install python3-venv"):
        script.unpack_pip(tmp_path)


# Real installs


def make_wheel(folder: Path, name: str, size: int = 0) -> str:
    """A wheel of one module; returns its line in a lock."""
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", f"NAME = '{name}'\n")
        archive.writestr(f"{name}_data.bin", os.urandom(size))
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


class Index(ThreadingHTTPServer):
    """A package index on loopback: /simple/NAME/ and /files/WHEEL, for who knows the password."""

    def __init__(self, folder: Path, *, slow: float = 0) -> None:
        self.folder, self.slow, self.asked = folder, slow, list[str]()
        super().__init__(("127.0.0.1", 0), Asked)

    @property
    def url(self) -> str:
        return f"http://me:{PASSWORD}@127.0.0.1:{self.server_port}/simple"


class Asked(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        known = "Basic " + base64.b64encode(b"me:a secret").decode()
        if self.headers.get("Authorization") != known:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            return
        kind, name = self.path.strip("/").split("/")
        if kind == "simple":
            found = self.server.folder.glob(f"{name.replace('-', '_')}-*")
            links = "".join(f'<a href="/files/{w.name}">{w.name}</a>\n' for w in found)
            body = f"<!DOCTYPE html><html><body>\n{links}</body></html>\n".encode()
        else:
            time.sleep(self.server.slow)
            body = (self.server.folder / name).read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if kind == "simple" else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    (tmp_path / "files").mkdir()
    with Index(tmp_path / "files") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The Python of an empty venv."""
    folder = tmp_path / "an environment"
    done = run([sys.executable, "-m", "venv", "--without-pip", folder])
    assert done.returncode == 0, done.stderr
    return folder / "bin/python"


def clean(tmp_path: Path, **env: str | None) -> dict[str, str | None]:
    """No setting of this machine counts, and no proxy."""
    names = [name for name in os.environ if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy")]
    home = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    return {**dict.fromkeys(names), **home, "PIP_CONFIG_FILE": os.devnull, "XDG_CONFIG_DIRS": str(tmp_path), **env}


def install(tools: Path, target: Path, lock: Path, **env: str | None) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-I", SCRIPT, tools, target, "--only-binary", ":all:", "-r", lock], **env)


@pytest.mark.slow
def test_installs_from_an_index_with_a_password(tools: Path, index: Index, target: Path, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(make_wheel(index.folder, "tiny_one") + make_wheel(index.folder, "tiny_two"))
    done = install(tools, target, lock, **clean(tmp_path, PIP_INDEX_URL=index.url))
    assert done.returncode == 0, done.stderr
    shown = run([target, "-c", "import tiny_one, tiny_two; print(tiny_one.NAME, tiny_two.__file__)"])
    assert shown.stdout.split()[0] == "tiny_one"
    # No second download: the cache has it.
    files = [path for path in index.asked if path.startswith("/files/")]
    shutil.rmtree(target.parents[1] / "lib")
    run([sys.executable, "-m", "venv", "--without-pip", target.parents[1]])
    assert install(tools, target, lock, **clean(tmp_path, PIP_INDEX_URL=index.url)).returncode == 0
    assert [path for path in index.asked if path.startswith("/files/")] == files


@pytest.mark.slow
def test_installs_by_a_file_of_settings_and_netrc(tools: Path, index: Index, target: Path, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(make_wheel(index.folder, "tiny_one"))
    (tmp_path / "more").mkdir()
    lock.write_text(lock.read_text() + make_wheel(tmp_path / "more", "tiny_two"))
    conf = tmp_path / "pip.conf"
    conf.write_text(
        f"[global]\nindex-url = http://127.0.0.1:{index.server_port}/simple\nfind-links = {tmp_path}/more\n"
    )
    settings = clean(tmp_path, PIP_CONFIG_FILE=str(conf))
    refused = install(tools, target, lock, **settings)
    assert refused.returncode != 0
    assert "tiny-one" in refused.stderr
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password 'a secret'\n".replace("'", '"'))
    (tmp_path / ".netrc").chmod(0o600)
    done = install(tools, target, lock, **settings)
    assert done.returncode == 0, done.stderr
    assert run([target, "-c", "import tiny_one, tiny_two"]).returncode == 0


@pytest.mark.slow
def test_a_mirrors_wheels_count_first(tools: Path, index: Index, target: Path, tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    lock = tmp_path / "lock.txt"
    lock.write_text(make_wheel(tmp_path / "mirror", "tiny_one"))
    settings = clean(tmp_path, PIP_INDEX_URL=index.url, WHEELS=str(tmp_path / "mirror"))
    done = install(tools, target, lock, **settings)
    assert done.returncode == 0, done.stderr
    assert index.asked == []
    # It is installed as if it came from the index: byte for byte.
    [library] = target.parents[1].glob("lib/python3*/site-packages")
    from_mirror = {file.relative_to(library): file.read_bytes() for file in library.rglob("*") if file.is_file()}
    shutil.rmtree(library)
    shutil.copytree(tmp_path / "mirror", index.folder, dirs_exist_ok=True)
    done = install(tools, target, lock, **settings | {"WHEELS": None})
    assert done.returncode == 0, done.stderr
    assert from_mirror == {
        file.relative_to(library): file.read_bytes() for file in library.rglob("*") if file.is_file()
    }
    # One that the mirror lacks comes from the index.
    lock.write_text(lock.read_text() + make_wheel(index.folder, "tiny_two"))
    done = install(tools, target, lock, **settings)
    assert done.returncode == 0, done.stderr
    assert "not all that lock.txt needs: asking the index" in done.stderr
    assert run([target, "-c", "import tiny_one, tiny_two"]).returncode == 0


@pytest.mark.slow
def test_only_what_the_lock_holds_is_installed(tools: Path, index: Index, target: Path, tmp_path: Path) -> None:
    line = make_wheel(index.folder, "tiny_one")
    lock, env = tmp_path / "lock.txt", clean(tmp_path, PIP_INDEX_URL=index.url)
    for text, says in ((line.split(" ")[0], "hash"), (line[:-65] + "0" * 64, "Hash mismatch")):
        lock.write_text(text + "\n")
        done = install(tools, target, lock, **env)
        assert done.returncode != 0
        assert says in done.stderr
        assert run([target, "-c", "import tiny_one"]).returncode != 0
    assert PASSWORD not in done.stderr


@pytest.mark.slow
def test_the_index_has_the_ca_that_pip_was_told(
    tools: Path, index: Index, target: Path, tmp_path: Path, tls: tuple[Path, Path]
) -> None:
    cert, key = tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    index.socket = context.wrap_socket(index.socket, server_side=True)
    lock = tmp_path / "lock.txt"
    lock.write_text(make_wheel(index.folder, "tiny_one"))
    url = index.url.replace("http:", "https:")
    refused = install(tools, target, lock, **clean(tmp_path, PIP_INDEX_URL=url))
    assert refused.returncode != 0
    assert "certificate" in refused.stderr
    done = install(tools, target, lock, **clean(tmp_path, PIP_INDEX_URL=url, PIP_CERT=str(cert)))
    assert done.returncode == 0, done.stderr


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2"]
    done = run([*command, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                "-addext", "basicConstraints=critical,CA:FALSE"])  # fmt: skip
    assert done.returncode == 0, done.stderr
    return cert, key


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_a_signal_ends_all_of_it_and_leaves_no_password(
    tools: Path, index: Index, target: Path, tmp_path: Path
) -> None:
    index.slow = 30
    lock, temporary = tmp_path / "lock.txt", tmp_path / "tmp"
    lock.write_text(make_wheel(index.folder, "tiny_one"))
    temporary.mkdir()
    for number in (signal.SIGTERM, signal.SIGINT):
        index.asked.clear()
        with subprocess.Popen(
            # As in a shell's background, where an interrupt is ignored.
            ["sh", "-c", "trap '' INT; exec \"$@\"", "-", sys.executable, "-I", SCRIPT, tools, target, "-r", lock],
            env=environment(**clean(tmp_path, PIP_INDEX_URL=index.url, TMPDIR=str(temporary))),
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        ) as process:  # fmt: skip
            deadline = time.monotonic() + 60
            while not any(path.startswith("/files/") for path in index.asked):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.kill(process.pid, number)
            _, said = process.communicate(timeout=20)
        assert process.returncode == 128 + number
        assert "Traceback" not in said
        while is_alive(process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not list(temporary.iterdir())
