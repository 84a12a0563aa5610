"""Upstream files: fetched, checked by hash, cached, unpacked.

A source comes from a mirror or its origin, resumes after an interruption, and is used once its size and hash match::

    source.py    one upstream file, and its addresses
    cache.py     the cached files, and the recorded hashes of unpinned sources
    part.py      the bytes of one source that have arrived so far
    formats.py   checks a source without a published hash by the format that its name promises
    stall.py     ends a connection that is too slow
    session.py   connections that send no credentials over plain http, and read no more than they must
    http.py      one attempt at one address over HTTP
    fetch.py     which addresses to try, in what order, how often
    progress.py  what a fetch reports, and how a terminal shows it
    unpack.py    untrusted archives
    keep.py      user-supplied files, copied into the cache

May import the ground: ``errors``, ``paths``, ``files``, ``limits``, ``untrusted``.
"""
