"""RADIUS for the door and for clients: packets (sans-IO), the dictionary, a client with fail-over."""
