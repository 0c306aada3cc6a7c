"""Verifiers elsewhere, with a strict stub of VIP User Services and real RADIUS servers."""
