"""Rows of data files: records, their parser, JSON lines, and the identity of a prompt."""
