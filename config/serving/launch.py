"""Starts a program that ends with the process that started it: `python -S launch.py PARENT_ID PROGRAM ARGUMENTS...`

The kernel's parent-death signal survives exec, so this little step sets it and then becomes the program. It is a step
of its own because code between fork and exec of a large process isn't safe; standard library only, and little of it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
