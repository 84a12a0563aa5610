"""Release and publish: what happens to bundles after they are built.

::

    lock.py        artifacts.lock: what every artifact has to be, in git
    parts.py       weights, graph and metadata of a .tflite, told apart
    verify.py      builds in a clean folder, and compares with the lock
    reasons.py     why a release is refused
    pack.py        makes release/<version>/: archives, and beside them what is known of them
    archive.py     those archives, written and read
    card.py        the cards: front matter as Hugging Face reads it, and what was left out
    sbom.py        bom.json: CycloneDX 1.6
    provenance.py  one in-toto statement an artifact
    sign.py        signatures with a key file, offline
    statement.py   what a signature says, without a key
    signer.py      which key a signature is of, without that key
    index.py       release.json, read
    check.py       holds a release, of any age, against itself
    publish.py     to a folder, to Hugging Face (hub.py), to a registry (registry.py) or a layout folder (layout.py)
    oci.py         what both of the last two get, and in which order
    http.py        redirects and credentials, hop by hop
    versions.py    which version is newer, and which one is the latest
    mirror.py      all sources of a build in one folder

``python -m utils.release COMMAND name=value ...`` runs one of them; doit does that for you.
"""
