"""npm's registry, read only, under `/npm/`: same gate, policy, waivers, store and record as Python's pages.

What differs is what npm is told of a project. It has no yank. So versions that policy refuses are not in a
packument's `versions`, and what every client takes unasked is one that is given; they stand in
`policyRestrictions`, which npm itself reads: who names one is told the rule, the date and where to ask.
A tarball is decided again when it is asked for, so a lock file opens nothing.
"""
