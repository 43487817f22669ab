"""How much a reward model learns from a label, by the order in which tasks are labeled."""
