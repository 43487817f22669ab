"""Who works where: accounts, projects, roles, invitations, notices, and each person's own keys."""
