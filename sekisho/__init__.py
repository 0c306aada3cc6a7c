"""The program: settings schema, wiring, server process, every command. No other package imports it."""
