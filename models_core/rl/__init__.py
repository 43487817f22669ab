"""What the recipe of PPO is made of: its networks, prompts, episodes, advantages, updates, and text mixed in."""
