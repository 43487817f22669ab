"""The objects below HONE_ARTEFACTS, by boto3, which reads AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and its other variables.

Every fault is a StorageFault with a sentence that says what to set; time-outs and tries are bounded.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import Any, BinaryIO

from django.conf import settings
from django.utils.translation import gettext_noop

from annotate.artefacts.contents import Readable, copied
from annotate.data import stored_messages
from annotate.data.stored_messages import StoredMessage
from annotate.errors import Refused

CONNECT_SECONDS = 5
READ_SECONDS = 10
TRIES = 3
"""With the times above and the pauses between them (at most 3 seconds), a request ends within a lease of a run."""
MOST_LIST_BYTES = 64 << 20
"""Of a folder's list, some 500,000 files; a longer one is refused where it is published."""
DELETED_AT_ONCE = 1000
TOO_MANY_REQUESTS = 429
ABSENT = ("404", "NoSuchKey", "NotFound")
Heartbeat = Callable[[], None]


class StorageFault(Refused):
    """The storage can't be used as it is, or what it holds can't."""

    status = 503


class StorageAway(StorageFault):
    """It can't be reached, or its servers fail or are busy: a later try may succeed."""


def fault(code: str, *, kind: type[StorageFault] = StorageFault, **values: Any) -> StorageFault:
    """Of a registered message, which a job can store for every language."""
    message = StoredMessage(code, values)
    return kind(str(message), message=message.as_json())


class Bucket:
    """Objects by their names below the prefix. Every method raises StorageFault."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.bucket, _, prefix = location.removeprefix("s3://").partition("/")
        self.prefix = f"{prefix}/" if prefix else ""
        with self._faults_worded():
            self._client = _client(os.getpid())

    def read(self, name: str) -> bytes | None:
        """A small object; None where there is none."""
        with self._faults_worded():
            if (body := self._body(name)) is None:
                return None
            with closing(body):
                found: bytes = body.read(MOST_LIST_BYTES)
        return found

    def read_start(self, name: str, size: int) -> bytes | None:
        """The first bytes of an object, at most so many; None where there is none."""
        with self._faults_worded():
            if (body := self._body(name, Range=f"bytes=0-{size - 1}")) is None:
                return None
            with closing(body):
                found: bytes = body.read(size)
        return found

    def write(self, name: str, content: bytes) -> None:
        with self._faults_worded():
            self._client.put_object(Bucket=self.bucket, Key=self.prefix + name, Body=content)

    def upload(self, name: str, source: Readable) -> None:
        """In parts, and in this thread."""
        from boto3.s3.transfer import TransferConfig

        with self._faults_worded():
            self._client.upload_fileobj(
                source, self.bucket, self.prefix + name, Config=TransferConfig(use_threads=False)
            )

    def download(
        self, name: str, target: BinaryIO, *, heartbeat: Heartbeat, most: int | None = None
    ) -> tuple[str, int] | None:
        """The SHA-256 and the bytes of what came; None where there is no such object.

        heartbeat: called before each request and at each block. most: the bytes after which no more are read but one.
        """
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        with self._faults_worded():
            for left in reversed(range(TRIES)):
                target.seek(0)
                target.truncate()
                heartbeat()
                if (body := self._body(name)) is None:
                    return None
                try:
                    with closing(body):
                        return copied(body, target, heartbeat=heartbeat, most=None if most is None else most + 1)
                except (HTTPClientError, IncompleteReadError):  # broken off; boto3 tries only to begin
                    if not left:
                        raise
        raise AssertionError("the last try returns or raises")

    def _body(self, name: str, **options: str) -> Any:
        """An object's bytes to come; None where there is none. Raises boto3's errors."""
        try:
            return self._client.get_object(Bucket=self.bucket, Key=self.prefix + name, **options)["Body"]
        except self._client.exceptions.ClientError as error:
            if _code_of(error) in ABSENT:
                return None
            raise

    def sizes(self, folder: str) -> dict[str, int]:
        """{name: bytes} of the objects directly in a folder, without the folder's name."""
        start = f"{self.prefix}{folder}/"
        with self._faults_worded():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=start, Delimiter="/"
            )
            return {
                item["Key"].removeprefix(start): item["Size"] for page in pages for item in page.get("Contents", ())
            }

    def sizes_below(self, folder: str) -> dict[str, int]:
        """{folder: bytes of the objects directly in it} for each folder below this one."""
        start = f"{self.prefix}{folder}/"
        found: dict[str, int] = {}
        with self._faults_worded():
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start):
                for item in page.get("Contents", ()):
                    name = item["Key"].removeprefix(start).rpartition("/")[0]
                    found[name] = found.get(name, 0) + item["Size"]
        return found

    def delete(self, names: Iterable[str]) -> None:
        keys = [{"Key": self.prefix + name} for name in names]
        with self._faults_worded():
            for first in range(0, len(keys), DELETED_AT_ONCE):
                deleted = self._client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": keys[first : first + DELETED_AT_ONCE], "Quiet": True}
                )
                for refused in deleted.get("Errors", ())[:1]:
                    raise fault("storage_denied", location=self.location, reply=refused.get("Code", ""))

    @contextmanager
    def _faults_worded(self) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore import exceptions

        try:
            yield
        except (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
        ) as error:
            raise fault("storage_no_credentials", location=self.location) from error
        except exceptions.ClientError as error:
            raise self._of_reply(error) from error
        except (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError) as error:
            raise fault(
                "storage_unreachable", kind=StorageAway, location=self.location, endpoint=_endpoint()
            ) from error
        except (exceptions.BotoCoreError, Boto3Error, ValueError) as error:
            raise fault("storage_failed", location=self.location, reply=str(error).rstrip(".")) from error

    def _of_reply(self, error: Any) -> StorageFault:
        code = _code_of(error)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code == "NoSuchBucket":
            return fault("storage_no_bucket", location=self.location, bucket=self.bucket)
        if status in (401, 403):
            return fault("storage_denied", location=self.location, reply=code)
        is_away = isinstance(status, int) and (status >= 500 or status == TOO_MANY_REQUESTS)
        return fault(
            "storage_failed", kind=StorageAway if is_away else StorageFault, location=self.location, reply=code
        )


def current() -> Bucket:
    """Of the settings. Raises StorageFault."""
    return Bucket(settings.HONE_ARTEFACTS)


@lru_cache(maxsize=1)
def _client(process_id: int) -> Any:
    """One for each process: a forked one doesn't share its parent's connections."""
    import boto3
    from botocore.config import Config

    session = boto3.session.Session()
    own = session._session.get_scoped_config().get("s3") or {}
    # A server's name of its own seldom has a subdomain for each bucket; a configuration file of AWS may say so.
    style = own.get("addressing_style") or ("path" if _named_endpoint() else "auto")
    return session.client(
        "s3",
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": TRIES},
            s3={"addressing_style": style},
            # Newer than what many servers understand; every file is compared with its SHA-256.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def forget_client() -> None:
    """The next one reads the environment anew."""
    _client.cache_clear()


def _named_endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _endpoint() -> str:
    return _named_endpoint() or "AWS"


def _code_of(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


stored_messages.register(
    {
        "storage_no_credentials": gettext_noop(
            "There are no credentials for the storage %(location)s. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            "for this process."
        ),
        "storage_no_bucket": gettext_noop(
            "The storage %(location)s has no bucket %(bucket)s. Create it, or correct HONE_ARTEFACTS."
        ),
        "storage_denied": gettext_noop(
            "The storage %(location)s refuses access (%(reply)s). Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
            "the key’s rights: it must list, read, write and delete objects."
        ),
        "storage_unreachable": gettext_noop(
            "The storage %(location)s could not be reached at %(endpoint)s. Check AWS_ENDPOINT_URL and the network."
        ),
        "storage_failed": gettext_noop("The storage %(location)s failed: %(reply)s."),
    }
)
