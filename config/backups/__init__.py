"""Backups: the database and the files that it names, in a folder that grows by what is new, and back again."""
