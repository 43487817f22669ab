"""People's and machines' judgments as a reward model learns from them, and what it is measured by.

rows of a file -> verdicts (which response is better than which, and how much that counts) -> examples (tokens)
"""
