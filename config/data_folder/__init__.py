"""The data folder: its permissions, its lock, and the secret key that is kept in it."""
