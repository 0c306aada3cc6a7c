"""The PAM door. src/ holds the C module that runs in the hosts (sshd, sudo, su). The Python side of its socket:

frames, frame_codec                   the protocol, without sockets
connection, service, unix_socket      the socket and its conversations ("Theory of operation" in service.py)
dialogue, profiles, texts, settings   what is asked, and what a verdict becomes
host                                  what this machine knows about its users
frontend                              all of these put together, for one of two programs:
door, store_backend                   `sekisho serve`, on the machine that holds the store
agent, radius_backend, offline/       `sekisho pam-agent`, on a host without the store
doctor, stack_checks, stacks, sshd    `sekisho doctor pam`
"""
