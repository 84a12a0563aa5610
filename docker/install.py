#!/usr/bin/env python3
"""Installs locked packages with the uv of docker/requirements-lock.txt: what docker/run and the image's build both do.

    docker/install.py TOOLS [PYTHON [WORDS]]

TOOLS is a folder for uv, which this gets there if it is missing, by means of the pip that every Python brings along.
With PYTHON, that interpreter's environment gets the packages that WORDS name, which are words of `uv pip install`, e.g.
`-r LOCK`. Every package has to have a hash, and nothing that the locks do not name is installed.

WHEELS in the environment names a folder of wheels, as a mirror has them. The index is asked only
where it does not have all.

pip's settings count (its files, PIP_CONFIG_FILE, all PIP_ variables), those of uv do not: but for UV_CACHE_DIR,
UV_LINK_MODE and UV_HTTP_TIMEOUT.
"""

from __future__ import annotations

import ast
import ensurepip
import json
import os
import signal
import ssl
import subprocess
import sys
import sysconfig
import tempfile
import urllib.parse
import zipfile
from pathlib import Path

LOCK = Path(__file__).resolve().parent / "requirements-lock.txt"

#: Variables of uv that the caller may set: they decide how files get there, and not which.
OF_UV = ("UV_CACHE_DIR", "UV_LINK_MODE", "UV_HTTP_TIMEOUT")

Settings = dict[str, str]


def main(words: list[str]) -> int:
    """Do what the words say; returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's job in the background would ignore the first
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    if not words or words[0] in {"-h", "--help"}:
        text = (__doc__ or "").split("\n\n", 1)[1]
        print("usage:", text.strip(), file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    tools = Path(words[0]).absolute()
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-I", "-B", str(unpack_pip(Path(folder)))]
        if not (tools / "bin/uv").exists():
            code = get_uv(pip, tools)
            if code:
                return code
        if not words[1:]:
            return 0
        return install(tools / "bin/uv", settings(pip), Path(folder), words[1:])


def unpack_pip(folder: Path) -> Path:
    """The pip of this Python's venv module, as a program: making a venv with it takes five times as long."""
    folders = (sysconfig.get_config_var("WHEEL_PKG_DIR"), Path(ensurepip.__file__).parent / "_bundled")
    wheels = [wheel for where in folders if where for wheel in sorted(Path(where).glob("pip-*.whl"))]
    if not wheels:
        sys.exit(f"install.py: {sys.executable} has no pip -> apt-get install python3-venv, or name another ZOO_PYTHON")
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extractall(folder)  # this Python's own
    return folder / "pip"


def get_uv(pip: list[str], tools: Path) -> int:
    """Install the locked uv into a folder."""
    # A venv is no matter here; --target contradicts --user.
    env = os.environ | {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_USER": "0", "PIP_ROOT_USER_ACTION": "ignore"}
    words = ["install", "-q", "--disable-pip-version-check", "--no-compile", "--no-deps", "--require-hashes"]
    command = [*pip, *words, "--only-binary", ":all:", "--upgrade", "--target", str(tools), "-r", str(LOCK)]
    wheels = os.environ.get("WHEELS")
    if wheels and has_all([*command, "--no-index", "--find-links", wheels], env, LOCK.name):
        return 0
    return subprocess.run(command, env=env).returncode


def has_all(command: list[str], env: Settings, what: str) -> bool:
    """Try to install from a folder of wheels alone; what that says is of no use where the index has the rest."""
    if not subprocess.run(command, env=env, stderr=subprocess.DEVNULL).returncode:
        return True
    print(
        f"install.py: the mirror's wheels are not all that {what} needs: asking the index", file=sys.stderr, flush=True
    )
    return False


def forget_folder(environment: Path) -> None:
    """Remove what uv notes of a wheel that came from a folder: its time, which differs between two builds."""
    for note in environment.glob("lib/python3*/site-packages/*.dist-info/uv_cache.json"):
        record = note.with_name("RECORD")
        mode, lines = record.stat().st_mode, record.read_text(encoding="utf-8").splitlines(keepends=True)
        record.unlink()  # it may be a link into uv's cache
        record.write_text("".join(line for line in lines if "/uv_cache.json," not in line), encoding="utf-8")
        record.chmod(mode)  # as in the wheel
        note.unlink()


def settings(pip: list[str]) -> Settings:
    """What pip is told, by name: a variable counts more than the section [install], and that more than [global]."""
    done = subprocess.run([*pip, "config", "list"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    found: dict[str, Settings] = {"global": {}, "install": {}, ":env:": {}}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in found:
            found[section][key] = str(ast.literal_eval(value))
    return found["global"] | found["install"] | found[":env:"]


def install(uv: Path, pip: Settings, folder: Path, words: list[str]) -> int:
    """Let uv install, with pip's settings."""
    config = folder / "uv.toml"  # in a file: an index may name a password, and who looks at processes sees words
    command = [
        str(uv),
        "pip",
        "install",
        "--config-file",
        str(config),
        "--no-deps",
        "--require-hashes",
        "--python",
        *words,
    ]
    if not sys.stderr.isatty():
        command.insert(3, "--no-progress")
    env, wheels = uv_environment(pip), os.environ.get("WHEELS")
    if wheels:
        config.write_text(uv_config(pip | {"no-index": "1", "find-links": wheels}), encoding="utf-8")
        if has_all(command, env, Path(words[-1]).name):
            forget_folder(Path(words[0]).parents[1])
            return 0
    config.write_text(uv_config(pip), encoding="utf-8")
    return subprocess.run(command, env=env).returncode


def uv_config(pip: Settings) -> str:
    """A uv.toml that says what pip's settings say."""
    # As pip does: all indexes are equal. What they hold is checked by its hash.
    config: dict[str, object] = {"index-strategy": "unsafe-best-match", "no-index": is_on(pip.get("no-index", ""))}
    if pip.get("index-url"):
        config["index-url"] = url_of(pip["index-url"])
    for key in ("extra-index-url", "find-links"):
        urls = [url_of(word) for word in pip.get(key, "").split()]
        config[key] = [url for url in urls if not is_missing(url)]  # pip warns of such a folder, and goes on
    config["allow-insecure-host"] = pip.get("trusted-host", "").split()
    if pip.get("keyring-provider") in {"subprocess", "import"}:
        config["keyring-provider"] = "subprocess"
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items())  # TOML's strings are JSON's


def uv_environment(pip: Settings) -> dict[str, str]:
    """This environment without uv's own settings, and with those of pip that uv takes from there."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("UV_") or key in OF_UV}
    if pip.get("cert"):
        env["SSL_CERT_FILE"] = pip["cert"]
        env.pop("SSL_CERT_DIR", None)  # it would be trusted, too
    if pip.get("client-cert"):
        env["SSL_CLIENT_CERT"] = pip["client-cert"]
    store = ssl.get_default_verify_paths()  # where this machine's CAs are, a company's among them; else uv brings some
    if sys.platform == "darwin" or env.get("SSL_CERT_FILE") or store.cafile or store.capath:
        env["UV_SYSTEM_CERTS"] = "1"
    if pip.get("proxy"):
        env |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), pip["proxy"])
    for name, key in (
        ("UV_HTTP_TIMEOUT", "timeout"),
        ("UV_HTTP_TIMEOUT", "default-timeout"),
        ("UV_HTTP_RETRIES", "retries"),
    ):
        if pip.get(key):
            env.setdefault(name, pip[key])
    if pip.get("cache-dir"):
        env.setdefault("UV_CACHE_DIR", str(Path(pip["cache-dir"]).expanduser() / "uv"))
    if is_on(pip.get("no-cache-dir", "")):
        env["UV_NO_CACHE"] = "1"
    return env


def is_on(value: str) -> bool:
    """Whether a setting of pip is on."""
    return value.strip().lower() in {"1", "on", "t", "true", "y", "yes"}


def url_of(word: str) -> str:
    """An index or a folder of wheels, as uv takes it: pip takes paths, too."""
    return word if "://" in word else Path(word).expanduser().absolute().as_uri()


def is_missing(url: str) -> bool:
    """Whether this is a folder that is not here."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "file" and not Path(urllib.parse.unquote(parts.path)).exists()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
