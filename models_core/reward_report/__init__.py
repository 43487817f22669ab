"""The quality report of a reward model on held-out judgments: metrics, a verdict, JSON and tables.

`assembly` builds the report. `verdict` is standard library only, because the web process words it.
"""
