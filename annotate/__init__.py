"""The labeling of Hone: projects, prompts, the labeling queue, judgments. Never imports torch."""
