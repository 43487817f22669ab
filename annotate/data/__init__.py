"""Data in and out: imports, the rows they bring, snapshots and what is checked of texts on the way."""
