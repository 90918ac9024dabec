"""A bucket on a real S3 server, and the environment of somebody who may use it."""

import itertools

import botocore.session
import pytest

from tilegen.testing.s3_server import s3_server
from tilegen.tiling.sinks.remote.bucket import opened_bucket

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def s3_url():
    with s3_server() as url:
        yield url


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Sets variables of this process and those it starts; no other AWS settings are in its way."""

    def use(**variables):
        settings = {
            "AWS_ACCESS_KEY_ID": "AKIATEST",
            "AWS_SECRET_ACCESS_KEY": "canary+secret",
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
            "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": "us-east-1",
        }
        for name, value in (settings | variables).items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        opened_bucket.cache_clear()

    yield use
    opened_bucket.cache_clear()


@pytest.fixture
def s3(s3_url, environment):
    """What botocore sees on the server, whatever tilegen sees."""
    environment(AWS_ENDPOINT_URL=s3_url)
    return botocore.session.Session().create_client("s3", endpoint_url=s3_url, region_name="us-east-1")


@pytest.fixture
def bucket(s3):
    name = f"bucket-{next(_NUMBERS)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def contents_of(s3, bucket):
    """Every object below a prefix, by the rest of its key, as botocore reads it."""

    def contents(prefix=""):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {key.removeprefix(prefix): s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    return contents
