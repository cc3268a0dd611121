"""Credentials: a destination in, a session of boto3 that may write to it out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from evothesis.config import Destination

if TYPE_CHECKING:
    import boto3

ROLE_SESSION_NAME = "evothesis"  # what the client's log of accesses shows


def session(destination: Destination) -> boto3.Session:
    """With the configured keys, else those of the usual AWS chain; in the role that they may take, if one is named."""
    import boto3

    own = boto3.Session(
        aws_access_key_id=destination.access_key_id or None,
        aws_secret_access_key=destination.secret_access_key or None,
        region_name=destination.region or None,
    )
    return _in_role(own, destination) if destination.role_arn else own


def _in_role(own: boto3.Session, destination: Destination) -> boto3.Session:
    """The role is taken at the first request, and again before it ends, however long an export takes."""
    import boto3
    from botocore.credentials import (
        AssumeRoleCredentialFetcher,
        CredentialProvider,
        CredentialResolver,
        DeferredRefreshableCredentials,
    )
    from botocore.exceptions import NoCredentialsError
    from botocore.session import Session

    def take() -> dict[str, Any]:
        credentials = own.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        external_id = {"ExternalId": destination.external_id} if destination.external_id else {}
        fetcher = AssumeRoleCredentialFetcher(
            # stores that speak S3 and have roles (MinIO, Ceph) give them at the same address
            client_creator=partial(own.client, endpoint_url=destination.endpoint or None),
            source_credentials=credentials,
            role_arn=destination.role_arn,
            extra_args={"RoleSessionName": ROLE_SESSION_NAME, **external_id},
        )
        taken: dict[str, Any] = fetcher.fetch_credentials()
        return taken

    class Role(CredentialProvider):
        METHOD = "assume-role"

        def load(self) -> DeferredRefreshableCredentials:
            return DeferredRefreshableCredentials(take, self.METHOD)

    core = Session()
    core.register_component("credential_provider", CredentialResolver([Role()]))
    return boto3.Session(botocore_session=core, region_name=destination.region or None)
