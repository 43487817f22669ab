"""What is known of a run before it starts: its recipe, and how that differs from another run's."""
