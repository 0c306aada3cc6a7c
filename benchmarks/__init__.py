"""Sekisho measured beside other RADIUS servers: an independent peer that shares no code with the product."""
