"""The command line: flags, dispatch, exit status and the sentences of failures. Standard library at import time."""
