"""The RADIUS door: translates between gateways and the house. It decides nothing about customers."""
