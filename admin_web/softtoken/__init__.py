"""The web soft token: an app in the customer's browser that shows codes, served on an origin of its own.

``static/`` is the app; the rest serves it, and issues each new token once. The server never receives a code.
"""
