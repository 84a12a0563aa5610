"""The catalogue: the zoo's own site, made from what bundles say of themselves; it builds nothing.

``facts.py`` reads a bundle as untrusted data (``given.py`` has its types), ``boards.py`` says what is known of it on
each board, ``collect.py`` puts the content of catalogue.json together (``schema.py``, ``parts.py``), ``plots.py``
draws, ``try_it.py`` and ``browser.py`` say what a browser gets to run the models, and ``make.py`` lets ``site.py``
write the pages (``views.py``, ``markup.py``). ``python -m utils.catalogue`` is what ``doit catalogue`` runs.
"""
