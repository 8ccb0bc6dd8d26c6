"""What one call of a check showed, in plain words with what to do about it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from shared.events.credential_health import CheckStatus

REASON_CHARACTERS_MAX: Final = 300
"""A provider's own words are cut to this inside a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The class of the result; `message` holds nothing of the key."""

    status: CheckStatus
    message: str
    provider_status: int | None = None


NOT_HEARD_OF: Final = Finding(
    status="unknown", message="The key has not reached the dispatchers yet. Check again."
)
NOT_REACHED: Final = Finding(
    status="unknown", message="The check ran out of time before this was tried. Check again."
)
NOT_OPENED: Final = Finding(
    status="unknown", message="OpenRoute could not open the key just now. Check again in a minute."
)
BROKE: Final = Finding(
    status="unknown", message="Something went wrong at OpenRoute during the check. Check again."
)
DAMAGED: Final = Finding(
    status="refused", message="The stored key can no longer be opened. Save it again."
)

_LATER: Final = "Check again later."
_MEANINGS: Final[Mapping[FailureClass, tuple[CheckStatus, str]]] = MappingProxyType(
    {
        FailureClass.KEY_REFUSED: (
            "refused",
            (
                "The provider refuses the key: it is wrong, expired or revoked. Make a new one at the "
                "provider and replace this one with it."
            ),
        ),
        FailureClass.PERMISSION_DENIED: (
            "no_permission",
            "The provider knows the key and does not permit this.",
        ),
        FailureClass.QUOTA_EXHAUSTED: (
            "refused",
            (
                "The provider takes the key, but its balance or quota is used up. Top up, or raise the "
                "quota there."
            ),
        ),
        FailureClass.INVALID_REQUEST: (
            "refused",
            "The provider refuses a chat completion of one token. Is this a chat model?",
        ),
        FailureClass.RATE_LIMITED: (
            "unknown",
            (
                "The provider is limiting requests at the moment, so the key could not be tried. Check "
                "again in a minute."
            ),
        ),
        FailureClass.TIMED_OUT: ("unreachable", f"The provider did not answer in time. {_LATER}"),
        FailureClass.UNREACHABLE: ("unreachable", f"The provider could not be reached. {_LATER}"),
        FailureClass.MISCONFIGURED: (
            "unknown",
            (
                "The provider's address does not know this question, so the key could not be tried. "
                "Tell the operator of this installation."
            ),
        ),
    }
)
_BROKEN: Final[tuple[CheckStatus, str]] = (
    "unreachable",
    f"The provider answered with an error that says nothing about the key. {_LATER}",
)
_MEANINGS_FOR_DEPLOYMENTS: Final[Mapping[FailureClass, tuple[CheckStatus, str]]] = MappingProxyType(
    {
        FailureClass.UNREACHABLE: (
            "unreachable",
            "The host of endpoint_url could not be reached. Compare it with the provider's portal.",
        ),
        FailureClass.MISCONFIGURED: (
            "refused",
            (
                "There is no such deployment at this endpoint_url, or no such api-version. Compare "
                "model_id and endpoint_url with the provider's portal."
            ),
        ),
    }
)
_MEANINGS_BY_CODE: Final[Mapping[str, tuple[CheckStatus, str]]] = MappingProxyType(
    {
        "credential_shape": (
            "refused",
            "The key is not in the form that this provider needs. Save it again.",
        ),
        "address_forbidden": (
            "refused",
            (
                "The endpoint_url is not one that may be called: it must begin with https:// and be "
                "public."
            ),
        ),
    }
)
"""Of our own adapters: calls that were never made."""

_NAMED_PERMISSION: Final = re.compile(
    r"\b(?:bedrock:[A-Za-z]+|aiplatform\.[a-z]+\.[A-Za-z]+|Microsoft\.CognitiveServices/[\w/.]+"
    r"|(?:api|model)\.[a-z]+\.[a-z]+)"
)
"""IAM actions and scopes as providers name them in their refusals."""
_GRANTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "azure": (
            "Under Networking of the Azure resource let this gateway's address in, and keep access "
            'by API key enabled; for Entra ID the role is "Cognitive Services OpenAI User".'
        ),
        "amazon-bedrock": (
            "Allow the IAM actions bedrock:InvokeModel and bedrock:InvokeModelWithResponseStream, "
            "and access to the model in this region."
        ),
        "google-vertex": (
            "Grant the service account the role roles/aiplatform.user, which holds "
            "aiplatform.endpoints.predict, and enable the Vertex AI API in its project."
        ),
        "openai": (
            "Give the key the permissions Models: Read and Model capabilities: Request, or make one "
            "with all permissions."
        ),
    }
)
"""What to grant where the refusal does not name it, by provider."""
_GRANT_ANYWHERE: Final = "Give the key access to models and inference at the provider."
_OUTPUT_LIMIT: Final = re.compile(r"output limit was reached", re.IGNORECASE)
"""A model that thinks before it answers refuses a limit of one token only after taking the key."""


def no_adapter(provider: str) -> Finding:
    """A provider that this installation cannot call."""
    return Finding(
        status="unknown",
        message=f"This installation cannot call {provider} yet, so the key could not be tried.",
    )


def finding(failure: ProviderFailure | None, attempt: Attempt) -> Finding:
    """What an answer means; None is an answer without a failure."""
    is_deployment = bool(attempt.endpoint.provider_model)
    if failure is None or _proves_the_key(failure):
        text = "The deployment answers." if is_deployment else "The provider accepts the key."
        return Finding(
            status="ok", message=text, provider_status=200 if failure is None else failure.status
        )
    kind, text = _meaning(failure, is_deployment=is_deployment)
    if kind == "no_permission":
        text += " " + _grant(failure, attempt.endpoint.provider)
    return Finding(
        status=kind, message=text + _provider_says(failure), provider_status=failure.status
    )


def _proves_the_key(failure: ProviderFailure) -> bool:
    """Refusals of the question that come only after the key has been taken."""
    match failure.failure:
        case FailureClass.CONTENT_REFUSED | FailureClass.CONTEXT_TOO_LONG:
            return True
        case FailureClass.INVALID_REQUEST:
            return _OUTPUT_LIMIT.search(failure.raw or "") is not None
        case _:
            return False


def _meaning(failure: ProviderFailure, *, is_deployment: bool) -> tuple[CheckStatus, str]:
    ours = _MEANINGS_BY_CODE.get(failure.code or "") if failure.status is None else None
    if ours is not None:
        return ours
    kind = failure.failure
    if is_deployment and kind in _MEANINGS_FOR_DEPLOYMENTS:
        return _MEANINGS_FOR_DEPLOYMENTS[kind]
    return _MEANINGS.get(kind, _BROKEN)


def _grant(failure: ProviderFailure, provider: str) -> str:
    named = dict.fromkeys(_NAMED_PERMISSION.findall(failure.raw or ""))
    if named:
        return f"Grant it {', '.join(named)}."
    return _GRANTS.get(provider, _GRANT_ANYWHERE)


def _provider_says(failure: ProviderFailure) -> str:
    """The provider's own words, already without secrets, in one line and cut."""
    words = "".join(each if each.isprintable() else " " for each in failure.raw or "")
    words = " ".join(words.split())
    if not words:
        return ""
    if len(words) > REASON_CHARACTERS_MAX:
        words = words[:REASON_CHARACTERS_MAX] + "..."
    return f' It says: "{words}"'
