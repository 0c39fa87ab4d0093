"""Where verified files stay (a folder, or an S3-compatible bucket), and what brings them there.

`folder.py` and `bucket.py` are the two places; `draft.py` is a file on its way to one, written and hashed
by `sink.py`; what the disk has no room for passes through `window.py`. `leases.py` says which process brings
it, `room.py` whether it fits.
"""
