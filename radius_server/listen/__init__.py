"""How datagrams come in and go out: sockets and ports. No RADIUS."""
