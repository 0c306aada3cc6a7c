"""Notices: e-mail to a customer when something about their one-time passwords changes."""
