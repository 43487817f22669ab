"""Responses that people or models compared or rated, published to train on."""
