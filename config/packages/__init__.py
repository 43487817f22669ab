"""What Hone is installed from: versions (constraints.txt), files (hashes.txt), known vulnerabilities, licences.

install.py    make setup: every file is compared with hashes.txt before it is installed
hashes.py     make hashes: hashes.txt written anew
audit.py      make audit: known vulnerabilities of what is pinned
licences.py   docs/licences.md
pins.py       reads constraints.txt and hashes.txt

install.py and pins.py run before anything is installed, as programs of the standard library alone.
"""
