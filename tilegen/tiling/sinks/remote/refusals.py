"""What an object store refuses, in one sentence. Nothing that a server said is repeated but its error code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import obstore.exceptions

from tilegen.errors import OutputError, StoreError, TilegenError

_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_STATUS = re.compile(r"status code: ([0-9]{3})")
_UNKNOWN_SIGNER = "{server} does not accept the AWS credentials ({code}). Check the variables AWS_* or AWS_PROFILE."
_ELSEWHERE = "The bucket {bucket} is in another region. Set AWS_REGION."
_DENIED = "{server} denies access to {place}. It takes the right to list, read, write and delete there."
# Codes: Amazon S3 API Reference, "Error responses". A number is the HTTP status, where there is no code.
_SENTENCES = {
    "NoSuchBucket": "{server} has no bucket {bucket}. Create it, or check AWS_ENDPOINT_URL.",
    "RequestTimeTooSkewed": "{server} finds that the clock of this machine is wrong. Set it.",
    "AccessDenied": _DENIED,
    "403": _DENIED,
    **dict.fromkeys(("AuthorizationHeaderMalformed", "ExpiredToken", "InvalidAccessKeyId"), _UNKNOWN_SIGNER),
    **dict.fromkeys(("InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired"), _UNKNOWN_SIGNER),
    **dict.fromkeys(("IllegalLocationConstraintException", "PermanentRedirect", "301", "307"), _ELSEWHERE),
}
_PASSING = re.compile(r"5[0-9][0-9]|429|408|SlowDown|InternalError|ServiceUnavailable|RequestTimeout")

ERRORS = (obstore.exceptions.BaseError, OSError)
"""What obstore raises."""


@contextmanager
def explained(place: object, bucket: str, server: str) -> Iterator[None]:
    """Turn what the store refuses inside the block into one sentence.

    Args:
        place: what was asked for, as the user knows it.
        bucket: its bucket.
        server: host of the store.

    Raises:
        StoreError: it may pass. OutputError: it will not.
    """
    try:
        yield
    except TilegenError:
        raise
    except ERRORS as error:
        # What obstore raises quotes the request and the answer, key identifiers included: it ends here.
        refusal, cause = _refusal(error, place, bucket, server)
    else:
        return
    raise refusal from cause


def _refusal(error: Exception, place: object, bucket: str, server: str) -> tuple[OutputError, Exception | None]:
    """The sentence; with a cause, another attempt may go well."""
    code = error_code(error)
    if code in _SENTENCES:
        return OutputError(_SENTENCES[code].format(server=server, bucket=bucket, place=place, code=code)), None
    if isinstance(error, FileNotFoundError):
        return OutputError(f"{place} is not there."), None
    if _PASSING.fullmatch(code):
        return StoreError(f"{server} is busy or broken ({code})."), ConnectionError(code)
    if code:
        return OutputError(f"{server} refuses {place} ({code}). Check whether it speaks S3."), None
    if isinstance(error, obstore.exceptions.UnauthenticatedError):
        return OutputError("The AWS credentials cannot be renewed. Log in again, then repeat the command."), None
    return StoreError(f"{server} does not answer. Check the network and AWS_ENDPOINT_URL."), ConnectionError("silence")


def error_code(error: Exception) -> str:
    """The error code of S3, or failing that the HTTP status; nothing if no server answered."""
    said = str(error)
    found = _CODE.search(said) or _STATUS.search(said)
    return found[1] if found else ""
