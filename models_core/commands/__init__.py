"""Commands that use a model rather than train one: sample, score, evaluate, live responses."""
