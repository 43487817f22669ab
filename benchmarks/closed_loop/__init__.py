"""Rounds of the loop with simulated labelers, measured by the gold reward that they judge by."""
