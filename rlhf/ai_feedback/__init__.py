"""AI feedback (RLAIF): AI labelers judge comparisons, as runs of the stage judge.

endpoints.py    the chat servers that the site's operator allows
judges.py       an AI labeler's model, prompt and settings; each change is a new version
ai_labeler_forms.py  the forms of their page
judge_runs.py    runs: which tasks, within what is left of the budget, and what becomes of the verdicts
"""
