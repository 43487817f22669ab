"""A run in a child process: its command, its files, and how it is watched and ended."""
