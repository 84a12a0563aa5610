"""Shared building: what a machine takes from others that built the same steps, and what it gives them.

A step cache holds the result of each step under a key that says everything the result depends on. It speaks Bazel's
protocol over HTTP, so that existing servers serve it::

    settings.py   the variables ZOO_STEPS...: read once, refused where they contradict each other
    action.py     the key of a step's result, and the result as an untrusted document
    trust.py      signatures over a key and the hashes of what was written
    http.py       GET and PUT at /ac/ and /cas/
    restore.py    takes a step's result instead of running the step, and gives away that of one that ran
    check.py      tests a server: ``doit steps:check``

A cluster runs steps on other machines. Dask carries them; files go through the step cache::

    cluster.py    ZOO_ENGINE: where the scheduler is, and by which certificate this machine takes part
    engine.py     doit's side: hands steps to workers, and waits for what becomes of them
    link.py       a program in Dask's environment, which has none of our packages: the client of the scheduler
    order.py      what a worker is asked, and what it answers
    inputs.py     what a step reads, on its way through the cache
    carry_out.py  what a worker starts for each step
    worker.py     ``doit worker``, ``doit scheduler``

May import ``graph``, ``recipe``, ``sources`` and the ground.
"""
