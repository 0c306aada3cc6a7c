"""Audit rows as syslog messages (RFC 5424), sent in their order to a receiver elsewhere."""
