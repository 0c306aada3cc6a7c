"""How an attempt becomes a verdict: first factors are awaited, then logins are decided in batches and committed."""
