"""How good a reward model is, from held-out judgments: measured, in a sentence, as JSON and as tables.

`assembly` puts the report together; `verdict` is standard library only, since the web process words it.
"""
