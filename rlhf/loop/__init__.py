"""The closed loop: model versions, prompts, sampling, active learning, rounds."""
