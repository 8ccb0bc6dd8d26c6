"""A receipt as OpenRouter's `generation`, with what it lacks: whose key, what it cost and why.

All keys that the published clients insist on are there; null stands for what this gateway does not
know or does not do. Optional keys that they refuse as null are left out.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from services.ingress.inbound.http.money_json import pricing, usd
from services.ingress.use_cases.name_credentials import Names
from shared.events.generations import AttemptReceipt, Operation, RequestOrigin
from shared.events.receipts import Receipt
from shared.events.usage import Usage, completion_cost, list_cost, prompt_cost
from shared.ids import CredentialId
from shared.money import PicoUsd, rounded

ProviderNames = Callable[[str], str]
_NO_ORIGIN: Final = RequestOrigin()

CSV_COLUMNS: Final = (
    "id",
    "created_at",
    "model",
    "provider_name",
    "endpoint",
    "outcome",
    "is_byok",
    "credential_id",
    "credential_label",
    "credential_name",
    "api_key_hash",
    "tokens_prompt",
    "tokens_completion",
    "native_tokens_reasoning",
    "native_tokens_cached",
    "tokens_estimated",
    "total_cost",
    "list_cost",
    "fee_percent",
    "uncollected",
    "charge",
    "reversed_because",
    "streamed",
    "finish_reason",
    "latency",
    "generation_time",
    "attempts",
    "api_type",
    "upstream_id",
    "external_user",
    "session_id",
)


def receipt_body(receipt: Receipt, provider_names: ProviderNames, names: Names) -> dict[str, Any]:
    """The object under `data`."""
    usage, origin = receipt.usage, receipt.origin or _NO_ORIGIN
    total_cost = usd(_paid(receipt))
    attempts = [
        _attempt(receipt, number, each, provider_names, names)
        for number, each in enumerate(receipt.attempts)
    ]
    return {
        "id": receipt.generation_id,
        "request_id": None,
        "upstream_id": _upstream_id(receipt),
        "model": _model(receipt),
        "provider_name": None if receipt.provider is None else provider_names(receipt.provider),
        "provider_responses": attempts,
        "is_byok": receipt.is_byok,
        "total_cost": total_cost,
        "usage": total_cost,
        "upstream_inference_cost": (usd(_list_cost(receipt)) if receipt.is_byok else None),
        "cache_discount": _cache_discount(receipt),
        "created_at": receipt.started_at.isoformat(),
        "streamed": receipt.streamed,
        "cancelled": receipt.outcome == "cancelled",
        "latency": _latency(receipt),
        "generation_time": _generation_time(receipt),
        "moderation_latency": None,
        "finish_reason": "error" if receipt.outcome == "abandoned" else receipt.finish_reason,
        "native_finish_reason": receipt.native_finish_reason,
        **_tokens(usage),
        "num_media_prompt": None,
        "num_input_audio_prompt": None,
        "num_media_completion": None,
        "num_search_results": None,
        "num_fetches": None,
        "app_id": None,
        "origin": origin.http_referer or "",
        "http_referer": origin.http_referer,
        "user_agent": origin.user_agent,
        "external_user": origin.external_user,
        "session_id": origin.session_id,
        "preset_id": None,
        "router": None,
        "service_tier": receipt.service_tier,
        "data_region": "global",
        "api_type": api_type(receipt.operation),
        "web_search_engine": None,
        "response_cache_source_id": None,
        "workspace_id": None,
        "outcome": receipt.outcome,
        "app_title": origin.app_title,
        "api_key_hash": receipt.api_key_hash,
        "requested_model": receipt.requested_model,
        "endpoint": receipt.endpoint,
        "credential": _credential(receipt.credential_id, _label(receipt), names),
        "tokens_estimated": None if usage is None else usage.estimated,
        "pricing": None if receipt.prices is None else pricing(receipt.prices),
        "charge": _charge(receipt),
        "finished_at": receipt.finished_at.isoformat(),
        "posted_at": receipt.posted_at.isoformat(),
    }


def api_type(operation: Operation) -> str:
    """OpenRouter's word for an operation."""
    return "embeddings" if operation == "embeddings" else "completions"


def csv_row(body: Mapping[str, Any]) -> dict[str, Any]:
    """A receipt's body as one flat row."""
    credential, charge = body["credential"] or {}, body["charge"]
    return {
        **{column: body.get(column) for column in CSV_COLUMNS},
        "credential_id": credential.get("id"),
        "credential_label": credential.get("label"),
        "credential_name": credential.get("name"),
        "list_cost": charge["list_cost"],
        "fee_percent": charge["fee_percent"],
        "uncollected": charge["uncollected"],
        "charge": charge["kind"],
        "reversed_because": charge["reversed_because"],
        "attempts": "; ".join(
            f"{each['endpoint_id']} {each['tier']} {each['failure'] or 'ok'}"
            for each in body["provider_responses"]
        ),
    }


def credential_ids(receipt: Receipt) -> set[CredentialId]:
    """The account's own credentials that a receipt names."""
    named = {each.credential_id for each in receipt.attempts} | {receipt.credential_id}
    return {each for each in named if each is not None}


def _attempt(
    receipt: Receipt,
    number: int,
    attempt: AttemptReceipt,
    provider_names: ProviderNames,
    names: Names,
) -> dict[str, Any]:
    answered = receipt.endpoint is not None and number == len(receipt.attempts) - 1
    prices = receipt.prices if answered else attempt.prices
    # what any other one used at its provider was delivered and charged to nobody
    usage = (receipt.usage if answered else None) or attempt.usage
    # the key may be left out but must not be null
    named = {} if attempt.upstream_id is None else {"id": attempt.upstream_id}
    return {
        **named,
        "provider_name": provider_names(attempt.provider),
        "status": attempt.status,
        "latency": attempt.latency_ms,
        "endpoint_id": attempt.endpoint,
        "model_permaslug": attempt.model,
        "is_byok": attempt.tier != "shared",
        "tier": attempt.tier,
        "credential": _credential(attempt.credential_id, attempt.credential_label, names),
        "failure": attempt.failure,
        "pricing": None if prices is None else pricing(prices),
        "usage": None if usage is None else "estimated" if usage.estimated else "measured",
        "tokens_prompt": None if usage is None else usage.prompt_tokens,
        "tokens_completion": None if usage is None else usage.completion_tokens,
    }


def _credential(
    credential_id: CredentialId | None, label: str | None, names: Names
) -> dict[str, Any] | None:
    """Whose key: the label that it had then, the name that it has now; null for shared capacity."""
    if credential_id is None:
        return None
    known = names.get(credential_id)
    return {
        "id": credential_id,
        "label": label or (known.label if known else None),
        "name": known.name if known else None,
    }


def _charge(receipt: Receipt) -> dict[str, Any]:
    charge, usage, prices = receipt.charge, receipt.usage, receipt.prices
    prompt = completion = None
    if charge.kind != "nothing" and usage is not None and prices is not None:
        prompt = usd(rounded(prompt_cost(usage, prices)))
        completion = usd(rounded(completion_cost(usage, prices)))
    percent = charge.fee_percent
    return {
        "kind": charge.kind,
        "list_cost": usd(charge.list_cost_nano_usd),
        "list_prompt_cost": prompt,
        "list_completion_cost": completion,
        "fee_percent": None if percent is None else msgspec.Raw(f"{percent:f}".encode()),
        "collected": usd(charge.collected_nano_usd),
        "uncollected": usd(charge.uncollected_nano_usd),
        "reversed_because": charge.reversed_because,
    }


def _paid(receipt: Receipt) -> int:
    charge = receipt.charge
    return 0 if charge.reversed_because is not None else charge.collected_nano_usd


def _list_cost(receipt: Receipt) -> int:
    charge = receipt.charge
    return 0 if charge.reversed_because is not None else charge.list_cost_nano_usd


def _cache_discount(receipt: Receipt) -> msgspec.Raw | None:
    """What reading and writing the provider's cache saved, below zero when writing cost more."""
    usage, prices = receipt.usage, receipt.prices
    if usage is None or prices is None or not (usage.cached_tokens or usage.cache_write_tokens):
        return None
    uncached = msgspec.structs.replace(usage, cached_tokens=0, cache_write_tokens=0)
    saved = list_cost(uncached, prices) - list_cost(usage, prices)
    return usd(rounded(PicoUsd(saved)))


def _model(receipt: Receipt) -> str:
    last = receipt.attempts[-1].model if receipt.attempts else None
    return receipt.model or last or receipt.requested_model or ""


def _label(receipt: Receipt) -> str | None:
    """The label of the credential that answered: its attempt was the last."""
    return receipt.attempts[-1].credential_label if receipt.attempts else None


def _upstream_id(receipt: Receipt) -> str | None:
    """The provider's own id of what it answered; null where no attempt answered."""
    if receipt.endpoint is None or not receipt.attempts:
        return None
    return receipt.attempts[-1].upstream_id


def _latency(receipt: Receipt) -> int | None:
    """Milliseconds to the first token, or to the end where none came."""
    return _generation_time(receipt) if receipt.first_token_ms is None else receipt.first_token_ms


def _generation_time(receipt: Receipt) -> int | None:
    """Milliseconds from beginning to end; null where no run is known."""
    if receipt.run_id is None:
        return None
    return round((receipt.finished_at - receipt.started_at).total_seconds() * 1000)


def _tokens(usage: Usage | None) -> dict[str, int | None]:
    prompt = None if usage is None else usage.prompt_tokens
    completion = None if usage is None else usage.completion_tokens
    return {
        "tokens_prompt": prompt,
        "tokens_completion": completion,
        "native_tokens_prompt": prompt,
        "native_tokens_completion": completion,
        "native_tokens_completion_images": None,
        "native_tokens_reasoning": None if usage is None else usage.reasoning_tokens,
        "native_tokens_cached": None if usage is None else usage.cached_tokens,
    }
