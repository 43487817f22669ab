"""Hashing passwords, one at a time in each process: it takes half a second of a core, and threads are few.

A few may wait for their turn; the rest is told at once to try again, so that people who are signed in already never
wait for strangers who aren't.
"""

from threading import BoundedSemaphore

from django.contrib.auth.hashers import PBKDF2PasswordHasher

MOST_WAITING = 2
WAIT_SECONDS = 5.0


class HashingBusy(Exception):
    """More passwords are being checked than this process has turns for."""


class BoundedPBKDF2PasswordHasher(PBKDF2PasswordHasher):
    """Django's default hasher, its encodings the same. Raises HashingBusy."""

    _turn = BoundedSemaphore(1)
    _places = BoundedSemaphore(1 + MOST_WAITING)

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        if not self._places.acquire(blocking=False):
            raise HashingBusy
        try:
            if not self._turn.acquire(timeout=WAIT_SECONDS):
                raise HashingBusy
            try:
                return super().encode(password, salt, iterations)
            finally:
                self._turn.release()
        finally:
            self._places.release()
