"""Accounts, sign-in, password hashing, and how much a person may send."""
