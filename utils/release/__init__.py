"""Release and publish bundles after they are built.

::

    lock.py        artifacts.lock: the expected hash of every artifact, in git
    parts.py       hashes of the weights, graph and metadata of a .tflite
    verify.py      builds in a clean folder, and compares with the lock
    clean.py       that folder, and the build in it
    rebuild.py     builds a release or the lock again from its commit, and signs what was found
    confirm.py     who has rebuilt a release, and whether k of n keys say so
    reasons.py     why a release is refused
    pack.py        makes release/<version>/: archives, and the documents about them
    archive.py     writes and reads those archives
    card.py        the cards: front matter for Hugging Face, and the files left out
    sbom.py        bom.json: CycloneDX 1.6
    provenance.py  one in-toto statement for each artifact
    sign.py        signatures with a key file, offline
    statement.py   reads the content of model.sig, without a key
    signer.py      finds which key a signature is of, without that key
    index.py       reads release.json
    check.py       checks a release of any age
    publish.py     to a folder, to Hugging Face (hub.py), to a registry (registry.py) or a layout folder (layout.py)
    oci.py         the artifact for both of the last two, and the order of a push
    http.py        redirects and credentials, hop by hop
    versions.py    orders versions, and chooses the latest
    mirror.py      copies all sources of a build into one folder

``python -m utils.release COMMAND name=value ...`` runs one of them; doit does that for you.
"""
