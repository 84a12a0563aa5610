"""Attestations of rebuilds: who has built a release's artifacts again from its commit, and got the same bytes.

::

    envelope.py   a signed statement as one file: a sigstore bundle of a DSSE envelope, as model.sig is
    statement.py  what is stated: in-toto Statement v1 with a verification summary of SLSA
    rebuilds.py   the files of a folder of statements, and the keys of known rebuilders
    count.py      which of the statements about a model count

Building again is ``utils/release/rebuild.py``; asking for k of n keys is ``utils/release/confirm.py``. May import the
ground.
"""
