"""The S3 server of the tests: that it refuses what S3 refuses, so that the tests of the exporter mean something."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.fix_s3 import REGION, Bucket

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def client(bucket: Bucket, *, access_key_id: str = "", secret: str = "") -> S3Client:
    """What the bucket's writer uses, or somebody with another key or secret."""
    return boto3.client(
        "s3",
        endpoint_url=bucket.endpoint,
        region_name=REGION,
        aws_access_key_id=access_key_id or bucket.access_key_id,
        aws_secret_access_key=secret or bucket.secret_access_key,
        config=Config(s3={"addressing_style": "path"}),
    )


def code(ask: Callable[[], object]) -> str:
    """The code with which a request is refused."""
    with pytest.raises(ClientError) as refused:
        ask()
    return refused.value.response["Error"]["Code"]


def test_writer(bucket: Bucket) -> None:
    """The writer may put and get objects, and nothing else."""
    writer = client(bucket)
    writer.put_object(Bucket=bucket.name, Key="some/prefix/a", Body=b"x")

    assert b"x" == writer.get_object(Bucket=bucket.name, Key="some/prefix/a")["Body"].read()
    assert {"a": b"x"} == bucket.objects()
    assert "AccessDenied" == code(lambda: writer.list_objects_v2(Bucket=bucket.name))
    assert "AccessDenied" == code(lambda: writer.delete_object(Bucket=bucket.name, Key="some/prefix/a"))
    assert "AccessDenied" == code(lambda: writer.put_object(Bucket="another", Key="a", Body=b"x"))


def test_if_none_match(bucket: Bucket) -> None:
    """An object is not overwritten when there must be none."""
    writer = client(bucket)
    bucket.put("a", b"x")

    assert "PreconditionFailed" == code(
        lambda: writer.put_object(Bucket=bucket.name, Key="some/prefix/a", Body=b"y", IfNoneMatch="*")
    )
    assert {"a": b"x"} == bucket.objects()


def test_strangers(bucket: Bucket) -> None:
    """A wrong secret and an unknown key are told apart, and refused."""
    wrong, unknown = client(bucket, secret="x" * 40), client(bucket, access_key_id="AKIAIOSFODNN7EXAMPLE")

    assert "SignatureDoesNotMatch" == code(lambda: wrong.put_object(Bucket=bucket.name, Key="a", Body=b"x"))
    assert "InvalidAccessKeyId" == code(lambda: unknown.put_object(Bucket=bucket.name, Key="a", Body=b"x"))
