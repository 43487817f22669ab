"""Full-text search of prompts with their responses: `search_words.py` cuts texts into words, `search_index.py` keeps
and asks the index. It is the database's own (GIN on PostgreSQL, FTS5 on SQLite), with the same words in both.
"""
