"""Everything that only PostgreSQL knows: connections to several hosts, its errors, transactions, the login batch."""
