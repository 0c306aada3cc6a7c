"""Offline codes, for hosts while no server answers.

The store issues a cache of codes to a host (reconcile.issue, cache). The host verifies codes from it, and writes each
one that it accepts into a journal (verifier, journal). Later the store spends the same codes (reconcile.reconcile).
The limits of this are in docs/pam.md: a host without a connection cannot know which codes were accepted elsewhere.
"""
