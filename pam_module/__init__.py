"""The PAM door: a C module on the host, and on this side of the socket the frames, the service and the agent."""
