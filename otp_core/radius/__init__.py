"""RADIUS for servers and clients: packets (sans-IO), the attribute dictionary, and a client with fail-over."""
