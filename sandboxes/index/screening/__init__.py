"""Screening of what the index stored: the process that scans, and how the index has a file scanned.

A file that is wanted and was never screened becomes a job (`jobs.py`) once its bytes are stored. A process beside each
storage (`__main__.py`) takes jobs of which it has the bytes, scans them in children (`sandboxes.screening.scanner`)
and writes the verdict, which wakes whoever waits for it.
"""
