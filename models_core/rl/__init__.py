"""PPO, RLOO and GRPO without their recipe: models, prompts, rollouts, advantages, updates, evaluation."""
