"""The web soft token: an app in the customer's browser that shows codes, served on an origin of its own.

``static/`` is the app; the rest hands it out, and a token with it, once. No code is ever sent here.
"""
