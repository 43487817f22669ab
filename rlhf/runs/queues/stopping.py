"""Whether this Celery worker is stopping: written by its main process, read by its pool children.

One byte of memory that the children share by fork. The main process writes it in a signal handler, where acquiring the
lock of an event or a queue could deadlock.
"""

import mmap

_flag = mmap.mmap(-1, 1)


def stop_worker() -> None:
    _flag[0] = 1


def worker_is_stopping() -> bool:
    return _flag[0] == 1
