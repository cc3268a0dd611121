"""S3 for tests: one moto server a session, with its IAM on, and a fresh bucket a test.

    def test_one(bucket): ...    # bucket.destination() is a [[export.destination]] whose key may put and get only
    def test_two(s3): ...        # s3.new_bucket() for more of them

moto refuses as S3 does: an unknown key, a wrong secret, what no policy allows, a bucket that is not there, and an
object that exists when If-None-Match forbids it. It does not check the checksums that it is sent.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from tests.appliance import eventually
from tests.collector.client import ask
from tests.processes import free_ports

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 10
REGION = "us-east-1"

_numbers = itertools.count()


class Bucket:
    """A bucket, seen by its owner, and the credentials of somebody who may only put and get objects."""

    def __init__(self, server: S3, name: str, access_key_id: str, secret_access_key: str) -> None:
        """`server.new_bucket()` makes one."""
        self.name = name
        self.endpoint = server.endpoint
        self.access_key_id = access_key_id
        self.secret_access_key = secret_access_key
        self.client = server.client
        self.owner = server.owner

    def destination(self, name: str = "client", **changes: object) -> dict[str, Any]:
        """A table of [[export.destination]], with `changes` to break it."""
        return {
            "name": name,
            "url": f"s3://{self.name}/some/prefix",
            "endpoint": self.endpoint,
            "region": REGION,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
        } | changes

    def objects(self) -> dict[str, bytes]:
        """Every object below the prefix, by its key without the prefix."""
        found = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name):
            for listed in page.get("Contents", []):
                key = listed["Key"]
                body = self.client.get_object(Bucket=self.name, Key=key)["Body"]
                found[key.removeprefix("some/prefix/")] = body.read()
        return found

    def listing(self) -> list[tuple[str, object, str]]:
        """Every version of every object: its key, when it was made, and its ETag."""
        answer = self.client.list_object_versions(Bucket=self.name)
        return [(version["Key"], version["LastModified"], version["ETag"]) for version in answer.get("Versions", [])]

    def put(self, key: str, body: bytes) -> None:
        """Write an object below the prefix, as its owner may."""
        self.client.put_object(Bucket=self.name, Key=f"some/prefix/{key}", Body=body)


class S3:
    """A running server: its address, and a client with all rights."""

    def __init__(self, endpoint: str) -> None:
        """Make an administrator; from then on the server checks who asks."""
        self.endpoint = endpoint
        self._iam = self._client("iam", "nobody", "nothing")
        access_key_id, secret = self._new_user("*", "*")
        self.owner = {"access_key_id": access_key_id, "secret_access_key": secret}
        reset = ask(endpoint, "POST", "/moto-api/reset-auth", body=b"0", headers={"Content-Type": "text/plain"})
        assert 200 == reset.status
        self._iam = self._client("iam", *self.owner.values())
        self.client: S3Client = self._client("s3", *self.owner.values())

    def new_bucket(self) -> Bucket:
        """A bucket of its own, for somebody who may put and get objects, and not list, delete or read anything else."""
        name = f"bucket-{next(_numbers)}"
        self.client.create_bucket(Bucket=name)
        # a bucket that is not there is told from one that is forbidden only to whom a policy allows it
        resources = [f"arn:aws:s3:::{name}/*", f"arn:aws:s3:::{name}-missing/*"]
        return Bucket(self, name, *self._new_user(["s3:PutObject", "s3:GetObject"], resources))

    def new_credentials(self, bucket: Bucket, actions: list[str]) -> dict[str, str]:
        """Variables of the environment with which somebody may do this with a bucket and its objects."""
        name = f"arn:aws:s3:::{bucket.name}"
        access_key_id, secret = self._new_user(actions, [name, f"{name}/*"])
        return {"AWS_ACCESS_KEY_ID": access_key_id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": REGION}

    def new_role(self, bucket: Bucket) -> dict[str, str]:
        """Of a destination: a role that may put and get its objects, and the keys of somebody who may only take it."""
        name = f"role-{next(_numbers)}"
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
        role = self._iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))["Role"]
        access = {"Action": ["s3:PutObject", "s3:GetObject"], "Resource": f"arn:aws:s3:::{bucket.name}/*"}
        self._iam.put_role_policy(
            RoleName=name, PolicyName="all", PolicyDocument=_policy({"Effect": "Allow", **access})
        )
        access_key_id, secret = self._new_user("sts:AssumeRole", role["Arn"])
        return {"role_arn": role["Arn"], "access_key_id": access_key_id, "secret_access_key": secret}

    def _new_user(self, action: str | list[str], resource: str | list[str]) -> tuple[str, str]:
        name = f"user-{next(_numbers)}"
        statement = {"Effect": "Allow", "Action": action, "Resource": resource}
        self._iam.create_user(UserName=name)
        self._iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=_policy(statement))
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def _client(self, service: str, access_key_id: str, secret: str) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time
        return boto3.client(
            service,  # type: ignore[call-overload] # the stubs know services by their literal names
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret,
            config=Config(s3={"addressing_style": "path"}),
        )


def _policy(statement: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server in a process of its own, on a free port of this machine."""
    (port,) = free_ports(1)
    output_path = tmp_path_factory.mktemp("s3") / "moto.log"
    # read when moto is imported; without it the server never learns to check
    environment = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": "inf"}
    with output_path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        endpoint = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, output_path.read_text()
            return ask(endpoint, "GET", "/moto-api/data.json").status == 200

        eventually(answers, timeout=START_SECONDS_MAX)
        yield S3(endpoint)
    finally:
        process.terminate()
        process.wait(STOP_SECONDS_MAX)


@pytest.fixture
def bucket(s3: S3) -> Bucket:
    """A fresh bucket."""
    return s3.new_bucket()
