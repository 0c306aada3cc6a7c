"""Tests of the first factor that asks a directory."""
