"""moto's S3 server on loopback, and hosts that share a bucket on it: each a data folder of its own."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from annotate.artefacts import bucket


@dataclass(frozen=True)
class SharedBucket:
    """client: boto3's. settings: pytest-django's, which are those of the host that works at the moment."""

    name: str
    client: Any
    settings: Any
    folder: Path

    def at(self, host: str) -> Path:
        """Go on as another host; its data folder."""
        data = self.folder / host
        data.mkdir(exist_ok=True)
        self.settings.HONE_DATA = data
        return data

    def names(self) -> list[str]:
        """Of every object, without the prefix."""
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return [item["Key"].removeprefix("team/") for item in found]

    def put(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=f"team/{name}", Body=content)

    def get(self, name: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=f"team/{name}")["Body"].read()
        return content


ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module")
def s3_client() -> Iterator[Any]:
    """A client of a server for the tests of a module; the environment names it as an operator would."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        bucket.forget_client()
        yield boto3.client("s3", region_name="us-east-1")
    bucket.forget_client()
    server.stop()


@pytest.fixture
def shared_bucket(s3_client: Any, settings: Any, tmp_path: Path) -> SharedBucket:
    """An empty bucket, of which the hosts use the prefix `team`; the first is `a`."""
    name = f"hone-{uuid.uuid4().hex[:12]}"
    s3_client.create_bucket(Bucket=name)
    settings.HONE_ARTEFACTS = f"s3://{name}/team"
    shared = SharedBucket(name, s3_client, settings, tmp_path)
    shared.at("a")
    return shared
