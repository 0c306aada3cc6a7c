"""Codes while no server answers: a cache that the store hands out, a journal of what was spent, the settling.

What this cannot promise stands in docs/pam.md: a host that is cut off cannot know what was spent elsewhere meanwhile.
"""
