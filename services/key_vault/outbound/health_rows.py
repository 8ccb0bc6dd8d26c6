"""How checks and health stand in PostgreSQL's rows."""

from typing import Any, Final

import msgspec

from services.key_vault.domain.check import Check, CheckResult
from services.key_vault.domain.health import Observed
from shared.events.credential_health import CredentialError

CHECK_COLUMNS: Final = "secret_revision, requested_at, result"


def check_of(row: Any) -> Check:
    """The check in a row with CHECK_COLUMNS."""
    result = row["result"]
    return Check(
        secret_revision=row["secret_revision"],
        requested_at=row["requested_at"],
        result=None if result is None else msgspec.convert(result, CheckResult),
    )


def observed_of(row: Any) -> Observed:
    """What a row of credential_health says."""
    return Observed(
        last_used_at=row["last_used_at"],
        last_success_at=row["last_success_at"],
        last_error=(
            None
            if row["error_at"] is None
            else CredentialError(
                failure=row["error_failure"],
                provider_status=row["error_provider_status"],
                endpoint=row["error_endpoint"],
                at=row["error_at"],
            )
        ),
        cooling_down_until=row["cooling_down_until"],
        observed_at=row["observed_at"],
    )


def values_of(observed: Observed) -> tuple[Any, ...]:
    """The values of the columns that `observed_of` reads, in the order of the table."""
    error = observed.last_error
    return (
        observed.last_used_at,
        observed.last_success_at,
        None if error is None else error.failure,
        None if error is None else error.provider_status,
        None if error is None else error.endpoint,
        None if error is None else error.at,
        observed.cooling_down_until,
        observed.observed_at,
    )
