"""The campaign: hostile cases without end, seeded, for as long as it is given; ``pytest -m campaign --minutes 30``.

Each area is a module here with ``cases(rng, folder)``, an endless stream of ``case.Case``. The stream must give the
same n-th case for the same seed, whether or not the cases before it were run: what a case needs, it makes itself.
"""
