"""Responses that people or models compared or rated, as papers published them."""
