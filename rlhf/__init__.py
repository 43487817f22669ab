"""Machines' side of Hone: training runs, model versions and the closed loop. The only package that sees both others."""
