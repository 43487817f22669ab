"""Rollouts from a vLLM server that loads the policy's weights before each iteration (docs/ppo.md)."""
