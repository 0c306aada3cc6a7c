"""HTTP for every site: listener, security headers, sessions, client address, connection limits."""
