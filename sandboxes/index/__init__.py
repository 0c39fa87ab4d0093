"""The package index process: what `pip` and `uv` in a sandbox speak to.

One request goes one way, whatever it asks for (`gate.py`): who asks, what is
it, may it be given, write that down, then answer. Pages come from
`projects.py`, files from `transfers.py`; both ask `upstream.py` at most once at
a time for the same thing. Django is used for the tables only (`models.py`);
the process itself speaks plain SQL and imports nothing of it.
"""
