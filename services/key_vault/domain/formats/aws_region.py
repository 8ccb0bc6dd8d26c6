"""The names of AWS regions."""

import re
from typing import Final

_REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,9}){1,3}-[1-9][0-9]?")
REGION_RULE: Final = "region must be an AWS region, like us-east-1, eu-central-1 or us-gov-west-1."


def is_region(text: str) -> bool:
    """Whether this is how AWS writes regions; which there are is for AWS to say."""
    return _REGION.fullmatch(text) is not None
