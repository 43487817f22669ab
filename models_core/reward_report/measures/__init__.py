"""What is measured of a reward model, a subject a module; pure functions of held-out judgments."""
