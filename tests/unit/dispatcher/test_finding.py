"""What the answers to a check mean to the key's owner."""

import msgspec
import pytest

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.check import attempts_to_check, checked
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.finding import REASON_CHARACTERS_MAX, finding, no_adapter
from shared.events.credential_health import CheckStatus, CredentialCheckRequested
from shared.events.credentials import CredentialChanged, Deployment, Resource
from tests.unit.dispatcher.made import ACCOUNT, NOW, credential

AZURE = credential(
    provider="azure",
    deployments=[
        Deployment(model_slug="openai/gpt-4o", model_id="first"),
        Deployment(model_slug="openai/gpt-4o-mini", model_id="second"),
        Deployment(model_slug="mistralai/mistral-large", model_id="third"),
    ],
)


def key_attempt(provider: str = "openai") -> Attempt:
    (attempt,) = attempts_to_check(credential(provider=provider))
    return attempt


def deployment_attempt() -> Attempt:
    return attempts_to_check(AZURE)[0]


def asked(of: CredentialChanged) -> CredentialCheckRequested:
    return CredentialCheckRequested(
        account_id=ACCOUNT,
        credential_id=of.credential_id,
        secret_revision=of.secret_revision,
        requested_at=NOW,
    )


@pytest.mark.parametrize(
    ("kind", "status", "key_status", "key_words", "deployment_status", "deployment_words"),
    [
        (FailureClass.KEY_REFUSED, 401, "refused", "replace this one", "refused", "revoked"),
        (
            FailureClass.PERMISSION_DENIED,
            403,
            "no_permission",
            "Models: Read",
            "no_permission",
            "Networking",
        ),
        (FailureClass.QUOTA_EXHAUSTED, 402, "refused", "Top up", "refused", "quota is used up"),
        (FailureClass.RATE_LIMITED, 429, "unknown", "in a minute", "unknown", "in a minute"),
        (FailureClass.MISCONFIGURED, 404, "unknown", "operator", "refused", "no such deployment"),
        (FailureClass.INVALID_REQUEST, 400, "refused", "one token", "refused", "a chat model?"),
        (FailureClass.PROVIDER_ERROR, 500, "unreachable", "later", "unreachable", "later"),
        (FailureClass.TIMED_OUT, None, "unreachable", "in time", "unreachable", "in time"),
        (FailureClass.UNREACHABLE, None, "unreachable", "later", "unreachable", "endpoint_url"),
        (FailureClass.STREAM_CUT, 200, "unreachable", "later", "unreachable", "later"),
        (FailureClass.CONTENT_REFUSED, 400, "ok", "accepts the key", "ok", "deployment answers"),
        (FailureClass.CONTEXT_TOO_LONG, 400, "ok", "accepts the key", "ok", "deployment answers"),
    ],
)
def test_every_class_of_failure_says_what_it_is_and_what_to_do(
    kind: FailureClass,
    status: int | None,
    key_status: CheckStatus,
    key_words: str,
    deployment_status: CheckStatus,
    deployment_words: str,
) -> None:
    failure = ProviderFailure(failure=kind, status=status)
    of_key, of_deployment = finding(failure, key_attempt()), finding(failure, deployment_attempt())
    assert (of_key.status, of_key.provider_status) == (key_status, status)
    assert key_words in of_key.message
    assert of_deployment.status == deployment_status
    assert deployment_words in of_deployment.message


def test_an_answer_is_a_good_key() -> None:
    assert finding(None, key_attempt()).status == "ok"
    assert finding(None, deployment_attempt()).message == "The deployment answers."


@pytest.mark.parametrize(
    ("provider", "raw", "named"),
    [
        ("openai", None, "Models: Read"),
        ("azure", None, "Cognitive Services OpenAI User"),
        ("amazon-bedrock", None, "bedrock:InvokeModelWithResponseStream"),
        ("google-vertex", None, "aiplatform.endpoints.predict"),
        ("groq", None, "access to models"),
        (
            "amazon-bedrock",
            "User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:InvokeModel on it",
            "Grant it bedrock:InvokeModel.",
        ),
        (
            "google-vertex",
            "Permission 'aiplatform.endpoints.streamingPredict' denied on resource",
            "Grant it aiplatform.endpoints.streamingPredict.",
        ),
        (
            "openai",
            "You have insufficient permissions for this operation. Missing scopes: api.model.read",
            "Grant it api.model.read.",
        ),
    ],
)
def test_a_missing_permission_is_named(provider: str, raw: str | None, named: str) -> None:
    failure = ProviderFailure(failure=FailureClass.PERMISSION_DENIED, status=403, raw=raw)
    found = finding(failure, key_attempt(provider))
    assert found.status == "no_permission"
    assert named in found.message


def test_the_providers_words_come_along_in_one_line_and_cut() -> None:
    raw = "Incorrect\nAPI\tkey: " + "x" * 2000
    failure = ProviderFailure(failure=FailureClass.KEY_REFUSED, status=401, raw=raw)
    message = finding(failure, key_attempt()).message
    assert 'It says: "Incorrect API key: xxx' in message
    assert message.endswith('x..."')
    assert len(message) < REASON_CHARACTERS_MAX + 250


@pytest.mark.parametrize(
    ("code", "words"),
    [("credential_shape", "Save it again"), ("address_forbidden", "https://")],
)
def test_what_was_never_sent_says_why(code: str, words: str) -> None:
    failure = ProviderFailure(failure=FailureClass.MISCONFIGURED, code=code)
    found = finding(failure, deployment_attempt())
    assert found.status == "refused"
    assert words in found.message


def test_a_thinking_model_that_finds_one_token_too_little_has_taken_the_key() -> None:
    failure = ProviderFailure(
        failure=FailureClass.INVALID_REQUEST,
        status=400,
        raw="Could not finish the message because max_tokens or model output limit was reached.",
    )
    assert finding(failure, deployment_attempt()).status == "ok"


def test_a_provider_without_an_adapter_is_unknown() -> None:
    found = no_adapter("google-vertex")
    assert found.status == "unknown"
    assert "google-vertex" in found.message


def test_the_worst_deployment_decides_and_each_is_told() -> None:
    attempts = attempts_to_check(AZURE)
    findings = [
        finding(None, attempts[0]),
        finding(ProviderFailure(failure=FailureClass.UNREACHABLE), attempts[1]),
        finding(ProviderFailure(failure=FailureClass.MISCONFIGURED, status=404), attempts[2]),
    ]
    result = checked(asked(AZURE), AZURE, findings, NOW)
    assert (result.status, result.provider_status) == ("refused", 404)
    assert result.message.startswith("2 of 3 deployments: third: There is no such deployment")
    assert result.deployments is not None
    assert [(each.model_id, each.status) for each in result.deployments] == [
        ("first", "ok"),
        ("second", "unreachable"),
        ("third", "refused"),
    ]


def test_good_deployments_are_told_as_one() -> None:
    findings = [finding(None, each) for each in attempts_to_check(AZURE)]
    result = checked(asked(AZURE), AZURE, findings, NOW)
    assert (result.status, result.message) == ("ok", "All 3 deployments answer.")


def test_whole_resources_are_told_by_their_names_behind_the_deployments() -> None:
    kept = msgspec.structs.replace(
        AZURE, deployments=(AZURE.deployments or [])[:1], resources=(Resource(resource_name="res"),)
    )
    attempts = attempts_to_check(kept)
    refused = ProviderFailure(failure=FailureClass.KEY_REFUSED, status=401)
    findings = [finding(None, attempts[0]), finding(refused, attempts[1])]
    result = checked(asked(kept), kept, findings, NOW)
    assert result.status == "refused"
    assert result.message.startswith("1 of 2 places: res: ")
    assert result.deployments is not None
    assert [(each.model_id, each.resource_name) for each in result.deployments] == [
        ("first", None),
        (None, "res"),
    ]
