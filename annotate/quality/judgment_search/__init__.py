"""Browsing a project's judgments: filters that an address keeps, full-text search, and pages in bounded time."""
