"""The program: settings schema, wiring, server process, every command. Nothing imports it."""
