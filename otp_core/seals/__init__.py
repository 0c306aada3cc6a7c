"""The seals of the audit trail: made by a task beside the logins, verified by whoever has the public key."""
