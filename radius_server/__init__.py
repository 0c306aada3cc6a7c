"""The RADIUS door: translates between gateways and the core. It decides nothing about customers."""
