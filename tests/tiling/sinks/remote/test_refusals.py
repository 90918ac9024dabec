"""What a store refuses is one sentence; credentials come from the usual places and go nowhere."""

import re
import socket
import subprocess
import sys
import time

import botocore.session
import numpy as np
import pytest

from tilegen.errors import InputError, OutputError, StoreError
from tilegen.testing.s3_server import BrokenWay, s3_server
from tilegen.testing.sinks import address_pixels, address_product, write_product
from tilegen.tiling.finished import opened_tiff
from tilegen.tiling.sinks import open_sink
from tilegen.tiling.sinks.remote.address import Address
from tilegen.tiling.sinks.remote.bucket import opened_bucket

SUFFIXES = [".zarr", ".tif"]
SECRET = "canary+secret/with=signs"


@pytest.fixture
def product():
    return address_product(100, 90)


def begun(url, product):
    return open_sink(url, product).begin(overwrite=False)


# Addresses


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("gs://bucket/a.tif", "gs:// is no object store"),
        ("https://bucket/a.tif", "https:// is no object store"),
        ("s3://b/a.tif", "'b' is not the name of a bucket"),
        ("s3:///a.tif", "'' is not the name of a bucket"),
        ("s3://bucket", "'' is not the name of an object"),
        ("s3://bucket/a//b.tif", "'a//b.tif' is not the name"),
        ("s3://bucket/../a.tif", "is not the name of an object"),
        (f"s3://bucket/{'a' * 1000}.tif", "longer than 900 bytes"),
        ("s3://bucket/a.png", r"ends in '\.png'. Give a name"),
        ("s3://me:password@bucket/a.tif", "An address has no credentials in it"),
    ],
)
def test_an_address_that_cannot_be_is_refused_before_anybody_is_asked(url, words, product):
    with pytest.raises(InputError, match=words) as refusal:
        open_sink(url, product)
    assert "password" not in str(refusal.value)


def test_an_address_may_end_in_a_slash():
    assert str(Address.parse("S3://bucket/in/a.zarr/")) == "s3://bucket/in/a.zarr"


# Servers that do not answer, or do not know us


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_bucket_that_is_not_there_is_named(s3, product, suffix):
    with pytest.raises(OutputError, match=r"127\.0\.0\.1:[0-9]+ has no bucket nowhere\. Create it"):
        begun(f"s3://nowhere/a{suffix}", product)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nobody_at_the_endpoint_is_told_within_seconds(environment, product, suffix):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    environment(AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}")
    started = time.monotonic()
    with pytest.raises(StoreError, match=rf"^127\.0\.0\.1:{port} does not answer\. Check the network"):
        begun(f"s3://bucket/a{suffix}", product)
    assert time.monotonic() - started < 30  # and not for ever


def test_a_store_that_is_broken_is_told_within_seconds(environment, s3_url, product):
    with BrokenWay(server=s3_url, every=1, failures=(503,)).open() as way:
        environment(AWS_ENDPOINT_URL=way.url)
        with pytest.raises(StoreError, match=r"^127\.0\.0\.1:[0-9]+ is busy or broken \(503\)\.$"):
            begun("s3://bucket/a.tif", product)
        assert len(way.seen) > 1  # it was asked again


def test_an_endpoint_has_no_credentials_in_it(environment, product):
    environment(AWS_ENDPOINT_URL="http://user:canary@127.0.0.1:9000")
    with pytest.raises(OutputError, match="The endpoint has credentials in it") as refusal:
        begun("s3://bucket/a.tif", product)
    assert "canary" not in str(refusal.value)


def test_no_credentials_at_all(environment, s3_url, product):
    environment(AWS_ENDPOINT_URL=s3_url, AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    with pytest.raises(OutputError, match=r"There are no AWS credentials\. Set AWS_ACCESS_KEY_ID"):
        begun("s3://bucket/a.tif", product)


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_PROFILE": "nobody"},
        {"AWS_SECRET_ACCESS_KEY": None},
        {"AWS_REGION": "not a region"},
        {"AWS_ENDPOINT_URL": "not a URL"},
    ],
)
def test_settings_that_make_no_sense(environment, s3_url, product, variables):
    environment(**{"AWS_ENDPOINT_URL": s3_url} | variables)
    with pytest.raises(OutputError, match=r"The AWS settings of this process cannot be used \(\w+\)"):
        begun("s3://bucket/a.tif", product)


@pytest.fixture(scope="module")
def guarded():
    """A server that asks who is there, and two users: one may write, the other only look."""
    with s3_server(INITIAL_NO_AUTH_ACTION_COUNT="7") as url:
        session = botocore.session.Session()
        access = {"endpoint_url": url, "region_name": "us-east-1"}
        keys = {"aws_access_key_id": "AKIAROOT", "aws_secret_access_key": "root"}
        session.create_client("s3", **access, **keys).create_bucket(Bucket="guarded")
        iam, users = session.create_client("iam", **access, **keys), {}
        for name, actions in (("writer", '"s3:*"'), ("reader", '"s3:ListBucket", "s3:GetObject"')):
            iam.create_user(UserName=name)
            users[name] = iam.create_access_key(UserName=name)["AccessKey"]
            statement = f'{{"Effect": "Allow", "Action": [{actions}], "Resource": "*"}}'
            document = f'{{"Version": "2012-10-17", "Statement": [{statement}]}}'
            iam.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=document)
        yield url, users


def test_a_profile_of_the_usual_files_signs_what_is_asked(guarded, environment, tmp_path, product):
    """And says where the server is. The server checks every signature."""
    url, users = guarded
    user = users["writer"]
    (tmp_path / "credentials").write_text(
        f"[other]\naws_access_key_id = no\naws_secret_access_key = no\n"
        f"[mine]\naws_access_key_id = {user['AccessKeyId']}\naws_secret_access_key = {user['SecretAccessKey']}\n"
    )
    (tmp_path / "config").write_text(f"[profile mine]\nregion = eu-central-1\nendpoint_url = {url}\n")
    environment(
        AWS_ACCESS_KEY_ID=None,
        AWS_SECRET_ACCESS_KEY=None,
        AWS_REGION=None,
        AWS_PROFILE="mine",
        AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials"),
        AWS_CONFIG_FILE=str(tmp_path / "config"),
    )
    for suffix in SUFFIXES:
        write_product(open_sink(f"s3://guarded/a{suffix}", product))
    with opened_tiff("s3://guarded/a.tif") as tiff:
        np.testing.assert_array_equal(tiff.read(), address_pixels(product.extent))


@pytest.mark.parametrize(
    ("user", "secret", "words"),
    [
        ("nobody", None, r"does not accept the AWS credentials \(InvalidAccessKeyId\)"),
        ("writer", "wrong", r"does not accept the AWS credentials \(SignatureDoesNotMatch\)"),
        ("reader", None, r"denies access to s3://guarded/\S+\. It takes the right to list, read, write and delete"),
    ],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whoever_may_not_write_is_told_why(guarded, environment, product, user, secret, words, suffix):
    url, users = guarded
    key = users.get(user, {"AccessKeyId": "AKIANOBODY", "SecretAccessKey": "secret"})
    secret = secret or key["SecretAccessKey"]
    environment(AWS_ENDPOINT_URL=url, AWS_ACCESS_KEY_ID=key["AccessKeyId"], AWS_SECRET_ACCESS_KEY=secret)
    with pytest.raises(OutputError, match=words) as refusal:
        begun(f"s3://guarded/b{suffix}", product)
    assert not isinstance(refusal.value, StoreError)  # another attempt would be no better
    assert secret not in str(refusal.value)
    assert key["AccessKeyId"] not in str(refusal.value)
    assert refusal.value.__cause__ is None


# Secrets

RUN = """
import contextlib, pickle, sys
from tilegen.testing.generators import CoordinateSource
from tilegen.testing.sinks import address_product
from tilegen.tiling.cluster import cluster
from tilegen.tiling.schedule import run_shards
from tilegen.tiling.sinks import open_sink
with cluster(None, 1) as client:
    for url in sys.argv[1:]:
        sink = open_sink(url, address_product(100, 90))
        try:
            run_shards(contextlib.nullcontext(client), CoordinateSource(tile_px=32), sink)
        except Exception as error:
            print("refused:", error, repr(error), repr(error.__cause__))
        print(sink, pickle.dumps(sink))
"""


def test_a_secret_occurs_in_nothing_that_is_said_or_written(environment, s3_url, bucket, contents_of, tmp_path):
    """Products, notes, output, what goes through the scheduler; of runs that end well and of one that does not."""
    with BrokenWay(server=s3_url, every=11).open() as way:
        environment(AWS_ENDPOINT_URL=way.url, AWS_SECRET_ACCESS_KEY=SECRET, AWS_SESSION_TOKEN=f"{SECRET}-token")
        urls = [f"s3://{bucket}/a.zarr", f"s3://{bucket}/a.tif", "s3://nowhere/a.tif"]
        done = subprocess.run(
            [sys.executable, "-c", RUN, *urls], capture_output=True, text=True, cwd=tmp_path, check=True
        )
        open_sink(f"s3://{bucket}/b.tif", address_product(100, 90)).begin(overwrite=False)
    found = contents_of()
    assert {"a.tif", "a.zarr/zarr.json", "b.tif.partial/manifest.json"} <= found.keys()
    assert "refused: 127.0.0.1" in done.stdout
    files = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    for said in (done.stdout.encode(), done.stderr.encode(), *found.values(), *found, *files):
        said = said if isinstance(said, bytes) else said.encode()
        assert b"canary" not in said
        assert b"AKIATEST" not in said


# Uploads


def test_an_upload_that_fails_leaves_nothing(s3, s3_url, bucket, environment, contents_of):
    with BrokenWay(server=s3_url, refused=re.compile(r"partNumber=2")).open() as way:
        environment(AWS_ENDPOINT_URL=way.url)
        blocks = iter([bytes(1 << 20)] * 12)
        with pytest.raises(OutputError, match=f"denies access to s3://{bucket}/big"):
            opened_bucket(bucket).upload("big", blocks, 5 << 20)
        assert any("partNumber=1" in request for request in way.seen)
    assert contents_of() == {}
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_a_source_that_ends_early_leaves_nothing(s3, bucket, contents_of):
    def blocks():
        yield bytes(6 << 20)
        raise OutputError("A part is gone.")

    with pytest.raises(OutputError, match="A part is gone"):
        opened_bucket(bucket).upload("big", blocks(), 5 << 20)
    assert contents_of() == {}
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_an_upload_in_many_parts_is_what_was_given(bucket, contents_of):
    pieces = [np.random.default_rng(seed).bytes(700_001) for seed in range(20)]
    opened_bucket(bucket).upload("big", iter(pieces), 5 << 20)
    assert contents_of() == {"big": b"".join(pieces)}
