"""Which of Vault's answers are refusals and which mean "not now".

What is raised names the path and the class of the failure only. Texts of Vault and of the HTTP
library are left out, and so is the chain to them: they may repeat what was sent.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import hvac.exceptions
import requests  # noqa: TID251 - hvac raises its errors

from shared.errors import OpenRouteError, Unavailable

DEPENDENCY = "vault"

_REFUSALS = (
    hvac.exceptions.InvalidRequest,
    hvac.exceptions.InvalidPath,
    hvac.exceptions.ParamValidationError,
)


class VaultRefused(OpenRouteError):  # noqa: N818 - reads as what it is
    """Vault answered and said no: a permission is missing, or ciphertext or context do not fit.

    Trying again changes nothing.
    """

    def __init__(self, path: str, reason: str) -> None:
        """`path` is Vault's path, `reason` a class of failure."""
        super().__init__(f"vault refused {path}: {reason}")
        self.path = path
        self.reason = reason


class VaultForbidden(VaultRefused):
    """The token does not allow it: it has expired, or the policy lacks the path."""


@contextmanager
def translate(path: str) -> Iterator[None]:
    """Raise VaultForbidden, VaultRefused or Unavailable("vault") for hvac's and requests' errors."""
    try:
        yield
    except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized) as error:
        raise VaultForbidden(path, type(error).__name__) from None
    except _REFUSALS as error:
        raise VaultRefused(path, type(error).__name__) from None
    except hvac.exceptions.VaultError as error:  # 5xx, sealed, rate limited, anything unknown
        raise Unavailable(DEPENDENCY, type(error).__name__) from None
    except (requests.RequestException, OSError) as error:
        raise Unavailable(DEPENDENCY, type(error).__name__) from None
