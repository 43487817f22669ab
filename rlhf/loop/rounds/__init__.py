"""Parts of a round: its gates, what it samples, what its page shows."""
