"""Prompts that may upset.

visibility.py  which labelers get them, and how lists and guidelines speak of them
marking.py     who marks them, and which leases end when a mark, a labeler's choice or a project's rule changes

A marked prompt is covered by a warning until its reader opens it. It is never given to a labeler who opted out, or whom
the project's rule spares.
"""
