"""Formats that are read, a module each: dialogues, comparisons and ratings, and files of annotation tools."""
