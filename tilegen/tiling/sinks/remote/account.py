"""Whose account a store is used with, and where the store is: what every AWS tool reads, found by botocore.

AWS SDKs and Tools Reference Guide, "Settings": environment before profile of ~/.aws before the metadata of containers
and instances. AWS_REGION is read, too, which botocore leaves to others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions
import botocore.session
from botocore.credentials import RefreshableCredentials

from tilegen.errors import OutputError

_DEFAULT_REGION = "us-east-1"
_ASK_AGAIN = timedelta(minutes=5)  # botocore renews what expires at least ten minutes before it does


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where requests go, and who signs them. Never leaves its process, and says nothing of its secrets.

    Args:
        endpoint: URL of the server.
        region: of the bucket.
        credentials: botocore's; they renew themselves.
    """

    endpoint: str
    region: str
    credentials: Any

    def __repr__(self) -> str:
        return f"Account({self.server})"

    @property
    def server(self) -> str:
        """The server for messages: host and port."""
        return urlsplit(self.endpoint).netloc

    @property
    def is_encrypted(self) -> bool:
        """Whether requests go over TLS."""
        return urlsplit(self.endpoint).scheme == "https"

    def signer(self) -> Any:
        """Credentials as obstore asks for them, again whenever they have expired."""
        frozen = self.credentials.get_frozen_credentials()
        expires = isinstance(self.credentials, RefreshableCredentials)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _ASK_AGAIN if expires else None,
        }


def open_account() -> Account:
    """The account of this process, from its own environment.

    Raises:
        OutputError: there are no credentials, or what is set cannot be used.
    """
    try:
        session = botocore.session.Session()
        credentials = session.get_credentials()
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region") or _DEFAULT_REGION
        # No request is made: this only resolves what environment and profile say of the endpoint.
        endpoint = session.create_client("s3", region_name=region).meta.endpoint_url
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise OutputError(
            f"The AWS settings of this process cannot be used ({type(error).__name__}). Check the variables AWS_* and "
            "the files in ~/.aws."
        ) from None
    if "@" in urlsplit(endpoint).netloc:
        raise OutputError("The endpoint has credentials in it. Take them out of AWS_ENDPOINT_URL; see docs/stores.md.")
    if credentials is None:
        raise OutputError(
            "There are no AWS credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, where "
            "tilegen runs and where its workers run."
        )
    return Account(endpoint=endpoint, region=region, credentials=credentials)
