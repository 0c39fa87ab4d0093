"""What a sandbox may have: one pure decision, asked for pages, files, metadata, HEAD and ranges alike.

`decide.py` is the function, `rules.py` the rules it goes through, `facts.py` what it is told of a
file, `policy.py` what an admin set, `patterns.py` and `waivers.py` the parts of that. Nothing in
here reads a clock, a database or the network, and nothing imports Django or aiohttp.
"""
