"""The login password that an LDAP directory checks: Active Directory, OpenLDAP and their like (RFC 4511).

``directory`` is the first factor. ``connection`` speaks to one server, ``servers`` to all of them; ``membership`` looks
for groups. ``ber``, ``messages``, ``filters``, ``names`` and ``outcome`` are pure. Nothing here writes to a directory,
follows a referral, or sends a password before the server's certificate is verified.
"""
