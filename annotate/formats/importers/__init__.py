"""Formats that are read, a module each, in folders: dialogues, sets to train on and to measure by, exports of tools."""
