"""The login decision, pure: the table, the evaluator, lockout, policy. No clock, no SQL, no sockets."""
