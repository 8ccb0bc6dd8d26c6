"""A receipt as the published clients insist on it, and with amounts that explain themselves."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.ingress.inbound.http.receipts_wire import (
    CSV_COLUMNS,
    credential_ids,
    csv_row,
    receipt_body,
)
from shared.events.credentials import CredentialDescription, Filters
from shared.events.generations import AttemptReceipt, RequestOrigin
from shared.events.receipts import Charge, Receipt
from shared.events.usage import Prices, Usage
from shared.ids import AccountId, ApiKeyHash, CredentialId, GenerationId, RunId

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
OWN = CredentialId("0192aaaa-0000-7000-8000-00000000000c")
GONE = CredentialId("0192aaaa-0000-7000-8000-00000000000d")
PRICES = Prices(prompt=2_500_000, completion=10_000_000, input_cache_read=1_250_000)
REQUIRED = frozenset(
    [
        "api_type",
        "app_id",
        "cache_discount",
        "cancelled",
        "created_at",
        "data_region",
        "external_user",
        "finish_reason",
        "generation_time",
        "http_referer",
        "id",
        "is_byok",
        "latency",
        "model",
        "moderation_latency",
        "native_finish_reason",
        "native_tokens_cached",
        "native_tokens_completion",
        "native_tokens_completion_images",
        "native_tokens_prompt",
        "native_tokens_reasoning",
        "num_fetches",
        "num_input_audio_prompt",
        "num_media_completion",
        "num_media_prompt",
        "num_search_results",
        "origin",
        "preset_id",
        "provider_name",
        "provider_responses",
        "router",
        "service_tier",
        "streamed",
        "tokens_completion",
        "tokens_prompt",
        "total_cost",
        "upstream_id",
        "upstream_inference_cost",
        "usage",
        "user_agent",
        "web_search_engine",
        "workspace_id",
    ]
)
"""What `GenerationResponseData` of openrouter 1.3.84 requires."""
NEVER_NULL = frozenset(
    ["created_at", "data_region", "id", "is_byok", "model", "origin", "total_cost", "usage"]
)
NAMES = {
    OWN: CredentialDescription(
        credential_id=OWN,
        provider="openai",
        label="sk-...new",
        name="mine",
        enabled=True,
        section="prioritized",
        always_use=False,
        order=0,
        filters=Filters(),
        created_at=NOW,
    )
}


def attempt(**changes: Any) -> AttemptReceipt:
    return msgspec.structs.replace(
        AttemptReceipt(
            provider="openai",
            endpoint="openai/gpt-4o",
            model="openai/gpt-4o",
            tier="prioritized",
            credential_id=OWN,
            credential_label="sk-...old",
            status=200,
            latency_ms=300,
        ),
        **changes,
    )


def receipt(**changes: Any) -> Receipt:
    return msgspec.structs.replace(
        Receipt(
            generation_id=GenerationId("gen-1"),
            account_id=AccountId("a"),
            outcome="completed",
            charge=Charge(
                kind="fee_deducted",
                list_cost_nano_usd=7_250_000,
                fee_percent=Decimal("2.50"),
                collected_nano_usd=181_250,
            ),
            run_id=RunId("run"),
            api_key_hash=ApiKeyHash("ab" * 32),
            is_byok=True,
            requested_model="openai/gpt-4o",
            model="openai/gpt-4o",
            provider="openai",
            endpoint="openai/gpt-4o",
            credential_id=OWN,
            usage=Usage(prompt_tokens=1_000, completion_tokens=500, cached_tokens=200),
            prices=PRICES,
            attempts=(
                attempt(credential_id=GONE, status=429, failure="rate_limited", prices=PRICES),
                attempt(),
            ),
            first_token_ms=120,
            started_at=NOW,
            finished_at=NOW + timedelta(milliseconds=450),
            posted_at=NOW + timedelta(seconds=1),
        ),
        **changes,
    )


def wire(shown: Receipt) -> Any:
    body = receipt_body(shown, lambda slug: slug.title(), NAMES)
    return msgspec.json.decode(msgspec.json.encode(body))


ABANDONED = receipt(
    outcome="abandoned",
    charge=Charge(kind="nothing", reversed_because="dispatcher_lost"),
    run_id=None,
    is_byok=False,
    requested_model=None,
    model=None,
    provider=None,
    endpoint=None,
    credential_id=None,
    usage=None,
    prices=None,
    attempts=(),
    first_token_ms=None,
)


@pytest.mark.parametrize("shown", [receipt(), ABANDONED], ids=["whole", "abandoned"])
def test_all_that_clients_insist_on_is_there(shown: Receipt) -> None:
    body = wire(shown)

    assert body.keys() >= REQUIRED
    assert [name for name in NEVER_NULL if body[name] is None] == []
    for each in body["provider_responses"]:
        # keys that may be left out but must not be null
        assert None not in (each["latency"], each["endpoint_id"], each["provider_name"])
        assert "id" not in each


def test_an_answer_is_named_by_the_providers_own_id() -> None:
    limited = attempt(status=429, failure="rate_limited", upstream_id="req-1")
    body = wire(receipt(attempts=(limited, attempt(upstream_id="chatcmpl-2"))))
    assert body["upstream_id"] == "chatcmpl-2"
    assert [each["id"] for each in body["provider_responses"]] == ["req-1", "chatcmpl-2"]
    # an attempt that failed did not answer
    unanswered = receipt(model=None, provider=None, endpoint=None, attempts=(limited,))
    assert wire(unanswered)["upstream_id"] is None


def test_the_clients_own_user_and_session_are_shown() -> None:
    body = wire(receipt(origin=RequestOrigin(external_user="=u", session_id="s")))
    assert (body["external_user"], body["session_id"]) == ("=u", "s")
    row = csv_row(body)
    assert (row["external_user"], row["session_id"], row["api_type"]) == ("=u", "s", "completions")


def test_amounts_are_exact_and_of_the_ledger() -> None:
    body = receipt_body(receipt(), str, NAMES)

    assert bytes(body["total_cost"]) == b"0.00018125"
    assert bytes(body["upstream_inference_cost"]) == b"0.00725"
    assert bytes(body["charge"]["fee_percent"]) == b"2.50"
    assert bytes(body["charge"]["list_prompt_cost"]) == b"0.00225"
    assert bytes(body["charge"]["list_completion_cost"]) == b"0.005"
    # 200 tokens at half the price
    assert bytes(body["cache_discount"]) == b"0.00025"


def test_shared_capacity_has_no_upstream_cost_to_add_and_no_credential() -> None:
    body = wire(receipt(is_byok=False, credential_id=None, attempts=(attempt(tier="shared"),)))

    assert body["upstream_inference_cost"] is None
    assert body["credential"] is None


def test_what_was_given_back_costs_nothing_and_says_why() -> None:
    charge = Charge(
        kind="credits_charged",
        list_cost_nano_usd=5,
        collected_nano_usd=5,
        reversed_because="out_of_time",
    )
    body = wire(receipt(charge=charge, outcome="abandoned"))

    assert (body["total_cost"], body["usage"], body["upstream_inference_cost"]) == (0, 0, 0)
    assert body["charge"]["reversed_because"] == "out_of_time"
    assert body["finish_reason"] == "error"


def test_a_credential_has_the_label_of_then_and_the_name_of_now() -> None:
    body = wire(receipt())
    gone, mine = body["provider_responses"]

    assert mine["credential"] == {"id": OWN, "label": "sk-...old", "name": "mine"}
    assert body["credential"] == mine["credential"]
    assert gone["credential"] == {"id": GONE, "label": "sk-...old", "name": None}
    assert credential_ids(receipt()) == {OWN, GONE}


def test_only_the_attempt_that_answered_has_usage() -> None:
    estimated = Usage(prompt_tokens=1, completion_tokens=1, estimated=True)

    assert [each["usage"] for each in wire(receipt())["provider_responses"]] == [None, "measured"]
    body = wire(receipt(usage=estimated))
    assert [each["usage"] for each in body["provider_responses"]] == [None, "estimated"]
    unanswered = wire(receipt(model=None, provider=None, endpoint=None, usage=None))
    assert [each["usage"] for each in unanswered["provider_responses"]] == [None, None]
    assert unanswered["model"] == "openai/gpt-4o"


def test_what_a_failed_attempt_used_is_shown_and_charged_nowhere() -> None:
    used = Usage(prompt_tokens=70, completion_tokens=0)
    body = wire(
        receipt(attempts=(attempt(status=429, failure="rate_limited", usage=used), attempt()))
    )
    failed, answered = body["provider_responses"]
    assert (failed["usage"], failed["tokens_prompt"], failed["tokens_completion"]) == (
        "measured",
        70,
        0,
    )
    assert (answered["tokens_prompt"], answered["tokens_completion"]) == (1_000, 500)
    assert body["tokens_prompt"] == 1_000
    unknown = wire(receipt())["provider_responses"][0]
    assert (unknown["usage"], unknown["tokens_prompt"]) == (None, None)


def test_times_are_in_milliseconds() -> None:
    assert (wire(receipt())["latency"], wire(receipt())["generation_time"]) == (120, 450)
    assert wire(receipt(first_token_ms=None))["latency"] == 450
    assert wire(ABANDONED)["generation_time"] is None


@pytest.mark.parametrize("shown", [receipt(), ABANDONED], ids=["whole", "abandoned"])
def test_a_row_of_the_table_has_all_its_columns(shown: Receipt) -> None:
    row = csv_row(receipt_body(shown, str, NAMES))

    assert set(row) == set(CSV_COLUMNS)
