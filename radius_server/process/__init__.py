"""What is done with a packet: Access-Request and Status-Server."""
