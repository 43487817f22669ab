"""Responses that were compared or judged to measure models by."""
