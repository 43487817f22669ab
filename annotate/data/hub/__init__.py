"""Data sets of a Hub: read as files of data, and pushed from snapshots."""
