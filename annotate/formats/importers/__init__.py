"""Formats that are read, a module each."""
