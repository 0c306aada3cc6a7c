"""Audit rows as signed HTTP requests (Standard Webhooks), sent in their order to a program elsewhere."""
