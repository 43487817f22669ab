"""What fine-tuning learns from: rows put into words by templates, into tokens, and into the steps of a run."""
