#!/usr/bin/env python3
"""Writes the image's bill of materials: every Debian and every Python package in it, as CycloneDX 1.6.

    docker/make_bom.py DPKG-STATUS FOLDER... >bom.json

Each FOLDER has environments of Python. The hashes are those of debian.txt beside this file.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from pathlib import Path
from urllib.parse import quote

LOCKS = Path(__file__).resolve().parent

Component = dict[str, object]


def main(words: list[str]) -> int:
    """Do what the words say; returns the exit code."""
    if len(words) < 2 or words[0] in {"-h", "--help"}:
        text = (__doc__ or "").split("\n\n", 1)[1]
        print("usage:", text.strip(), file=sys.stdout if words else sys.stderr)
        return 0 if words[:1] in (["-h"], ["--help"]) else 2
    status, *folders = map(Path, words)
    components = [*of_debian(status), *(one for folder in folders for one in of_python(folder))]
    found = {str(one["bom-ref"]): one for one in components}
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"bom-ref": "nxp-model-zoo", "name": "nxp-model-zoo", "type": "container"}},
        "components": [found[name] for name in sorted(found)],
        "dependencies": [{"ref": "nxp-model-zoo", "dependsOn": sorted(found)}],
    }
    json.dump(bom, sys.stdout, indent=2, sort_keys=True)
    print()
    return 0


def of_debian(status: Path) -> list[Component]:
    """The installed packages of dpkg's status file, those of the base image among them."""
    locked = {}
    for line in (LOCKS / "debian.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            _, name, version, sha256, _, path = line.split()
            locked[name, version, path.removesuffix(".deb").rpartition("_")[2]] = sha256
    found = []
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status") != "install ok installed":
            continue
        name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
        purl = f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe='')}?arch={machine}&distro=bookworm"
        component: Component = {"bom-ref": purl, "type": "library", "name": name, "version": version, "purl": purl}
        if (name, version, machine) in locked:  # else it is one that the base image has, and the lock has not
            component["hashes"] = [{"alg": "SHA-256", "content": locked[name, version, machine]}]
        found.append(component)
    return found


def of_python(folder: Path) -> list[Component]:
    """The packages of an environment, and of each environment in it where it has a folder for each version."""
    libraries = sorted({file.parent.parent for file in folder.glob("**/site-packages/*.dist-info/METADATA")})
    found = []
    for one in importlib.metadata.distributions(path=[str(library) for library in libraries]):
        name = re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower()
        purl = f"pkg:pypi/{name}@{quote(one.version, safe='')}"
        component: Component = {
            "bom-ref": purl, "type": "library", "name": name, "version": one.version, "purl": purl,
        }  # fmt: skip
        if "License-Expression" in one.metadata:
            component["licenses"] = [{"expression": one.metadata["License-Expression"]}]
        found.append(component)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
