"""What is done with a packet: Access-Request, Status-Server, and the replies to both. No sockets."""
