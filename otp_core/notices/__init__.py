"""Notices: what a customer is told by e-mail when something about their one-time passwords changes."""
