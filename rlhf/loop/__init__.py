"""The closed loop: which model is in use, which prompts it answers, what is labeled next, rounds."""
