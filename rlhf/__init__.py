"""Training runs, model versions and the closed loop. The only package that imports annotate and models_core."""
