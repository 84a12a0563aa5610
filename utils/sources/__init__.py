"""Files from outside: fetched, checked by hash, cached, unpacked.

A source arrives from a mirror or its origin, resumes where it broke off, and counts only once its size and hash hold::

    source.py    one file from outside, and its addresses
    cache.py     the files that are here, and the hashes recorded of unpinned sources
    part.py      the bytes of one source that have arrived so far
    formats.py   what its name promises, for a source without a published hash
    stall.py     ends a connection that brings too little
    session.py   connections that give no login to plain http, and take no more than they have to
    http.py      one try at one address over HTTP
    fetch.py     which addresses to try, in what order, how often
    progress.py  what a fetch reports, and how a terminal shows it
    unpack.py    archives, without trust in them
    keep.py      the user's own files, copied into the cache

May import the ground: ``errors``, ``paths``, ``files``, ``limits``, ``untrusted``.
"""
