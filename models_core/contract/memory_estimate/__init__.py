"""What a run needs in memory, by arithmetic: `model_shape` from config.json, `estimate`, and `remedies`."""
