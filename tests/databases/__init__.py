"""The databases under test: servers, migrated copies, rows of a module."""
