"""How datagrams come in and go out: sockets and ports. Knows nothing of RADIUS packets."""
