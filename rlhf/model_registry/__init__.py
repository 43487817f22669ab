"""What people do with model versions beside promoting them: import, tag, delete, export.

importing.py   a folder or Hub id as a version
exporting.py   a GGUF file for llama.cpp, a repository of a Hub
tags.py        words on a version
removal.py     what needs a version, and the removal of one that nothing needs
"""
