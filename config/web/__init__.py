"""The web process: how requests are received, logged, and refused when the site cannot reply."""
