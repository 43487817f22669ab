"""The rolling mode: judgments reach the reward model while people label, without a round."""
