"""Training runs and the workers that execute them."""
