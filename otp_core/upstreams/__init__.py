"""RADIUS servers that are asked about logins: sockets and identifiers, which server is asked, what goes there and what
comes back. It decides nothing about customers, and never accepts by itself: no valid answer is silence.
"""
