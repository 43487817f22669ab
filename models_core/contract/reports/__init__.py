"""What reports and metrics are called: names, and the sentences of verdicts."""
