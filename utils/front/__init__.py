"""The front door: the words that doit takes, and all that it shows.

    main.py        our doit: its commands, and its errors in our words
    commands.py    every command and every ``name=value``, once
    words.py       refuses what is misspelt, and says what was meant
    tasks.py       steps as doit's tasks
    action.py      runs a program and passes on what it says
    sharing.py     restores a step from the step cache, or runs it and gives it away
    stage.py       the one screen of this process
    outlook.py     what a build will do, and how long it takes
    report.py      what doit says while it runs
    summary.py     the table at the end
    index.py       hashes of files that look unchanged, from one doit to the next
    matrix.py      a build dealt out to the jobs of a CI
    missing.py     sources that could not be had, in one sentence and one file
    listing.py, info.py, help.py, completion.py    the commands of those names

May import ``shared``, ``graph`` and all that stands below it.
"""
