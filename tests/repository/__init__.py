"""The repository itself: floor plan, vocabulary, templates, scripts, and what the documents claim."""
