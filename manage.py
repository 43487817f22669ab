#!/usr/bin/env python
"""Hone's command line: `python manage.py help` lists the commands."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from config.management.command_line import main

    main(sys.argv)
