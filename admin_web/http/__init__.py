"""HTTP, once for all sites: door, listener, security middleware, sessions, client address, connection limits."""
