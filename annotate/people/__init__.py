"""Accounts, projects, roles, invitations, notices, and each person's own keys."""
