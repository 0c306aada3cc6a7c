"""What the logins of the last days would have been answered under other settings: ``sekisho forecast``, the console.

It reads the audit trail and what lies beside it, puts what each login proved to the evaluator of every login again, and
writes nothing. What was typed is never kept, so some of it cannot be told; then it says so.
"""
