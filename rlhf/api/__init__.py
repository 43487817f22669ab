"""The API of training: runs, their metrics, models. The API of labeling is in annotate/api."""
