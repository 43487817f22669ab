"""Records for tests: a project's people, everything they may make, and large numbers of it."""
