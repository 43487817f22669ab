"""People's side of Hone: projects, prompts, the labeling queue, judgments and what is made of them. Never imports torch."""
