"""Reads receipts, activity and credits."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import msgspec
from typing_extensions import override

from services.billing.domain.generation import month_of_generation
from services.billing.ports.read_side import ReadSide
from shared.errors import PoisonRecord
from shared.events.generations import AttemptReceipt, RequestOrigin
from shared.events.receipts import (
    ActivityRow,
    Charge,
    CreditsTold,
    QueryActivity,
    QueryReceipts,
    Receipt,
)
from shared.events.usage import Prices, Usage
from shared.ids import AccountId, GenerationId, first_generation_id, started_at
from shared.postgres.errors import translate
from shared.postgres.pool import Pool

_RECEIPT: Final = """
select g.generation_id, g.account_id, g.run_id, g.outcome, g.api_key_hash, g.is_byok, g.model,
       g.provider, g.endpoint, g.credential_id, g.kind, g.list_cost_nano_usd, g.collected_nano_usd,
       g.uncollected_nano_usd, g.prompt_tokens, g.completion_tokens, g.estimated, g.started_at,
       g.finished_at, g.posted_at, r.operation, r.requested_model, r.streamed, r.finish_reason,
       r.native_finish_reason, r.first_token_ms, r.service_tier, r.origin, r.fee_percent,
       r.cached_tokens, r.cache_write_tokens, r.reasoning_tokens, r.prices, r.attempts,
       a.reason as abandoned_because
from receipts r
join generations g on g.month = r.month and g.generation_id = r.generation_id
    and g.account_id = r.account_id
left join abandonments a on a.month = coalesce(g.corrects_month, g.month) and a.generation_id = r.generation_id
    and a.kind = 'abandoned'
"""
_ONE: Final = f"{_RECEIPT} where r.account_id = $1 and r.generation_id = $2"
_ABANDONED: Final = """
select generation_id, account_id, reason, created_at from abandonments
where month = $3 and generation_id = $2 and account_id = $1 and kind = 'abandoned'
"""
_MANY: Final = f"""
{_RECEIPT}
where r.account_id = $1 and r.generation_id > $2 and r.generation_id < $3
  and ($4::text is null or g.api_key_hash = $4)
  and ($5::text is null or g.credential_id = $5)
  and ($6::text is null or g.model = $6)
order by r.generation_id limit $7
"""
_ACTIVITY: Final = """
select day, model, provider, endpoint, operation,
       case when $7 then api_key_hash end as api_key_hash,
       case when $8 then credential_id end as credential_id,
       sum(requests)::bigint as requests,
       sum(prompt_tokens)::bigint as prompt_tokens,
       sum(completion_tokens)::bigint as completion_tokens,
       sum(reasoning_tokens)::bigint as reasoning_tokens,
       sum(cached_tokens)::bigint as cached_tokens,
       sum(credits_nano_usd) as credits_nano_usd,
       sum(byok_list_cost_nano_usd) as byok_list_cost_nano_usd
from activity_days
where account_id = $1 and day between $2 and $3
  and ($4::text[] is null or api_key_hash = any($4))
  and ($5::text is null or credential_id = $5)
  and ($6::text is null or model = $6)
group by 1, 2, 3, 4, 5, 6, 7
order by 1 desc, 2, 3, 4, 5, 6, 7 limit $9
"""
# Credits come in and are used, and nothing else changes them: what came in is what is left and used.
_CREDITS: Final = """
select coalesce((select sum(credits_nano_usd) from spending_days where account_id = $1), 0) as used,
       coalesce((select available_nano_usd from accounts where account_id = $1), 0) as available,
       coalesce((select held_nano_usd from accounts where account_id = $1), 0) as held
"""
_FEES: Final = frozenset({"fee_waived", "fee_deducted"})


class PostgresReads(ReadSide):
    """The read side, beside the ledger that it explains."""

    def __init__(self, pool: Pool) -> None:
        """Each question is one statement, with the pool's deadlines."""
        self._pool = pool

    @override
    async def receipt(self, account_id: AccountId, generation_id: GenerationId) -> Receipt | None:
        try:
            month = month_of_generation(generation_id)
        except (ValueError, OverflowError, OSError):
            return None
        found = await self._fetch(_ONE, account_id, generation_id)
        if found:
            return _receipt(found[0])
        abandoned = await self._fetch(_ABANDONED, account_id, generation_id, month)
        return _abandoned(abandoned[0], generation_id) if abandoned else None

    @override
    async def receipts(self, query: QueryReceipts, *, rows_max: int) -> list[Receipt]:
        rows = await self._fetch(
            _MANY,
            query.account_id,
            max(query.after or "", first_generation_id(query.first_day)),
            first_generation_id(query.last_day, days_later=1),
            query.api_key_hash,
            query.credential_id,
            query.model,
            rows_max,
        )
        return [_receipt(row) for row in rows]

    @override
    async def activity(self, query: QueryActivity, *, rows_max: int) -> list[ActivityRow]:
        rows = await self._fetch(
            _ACTIVITY,
            query.account_id,
            query.first_day,
            query.last_day,
            None if query.api_key_hashes is None else list(query.api_key_hashes),
            query.credential_id,
            query.model,
            "api_key_hash" in query.group_by,
            "credential_id" in query.group_by,
            rows_max,
        )
        return [
            ActivityRow(
                day=row["day"],
                model=row["model"],
                provider=row["provider"],
                endpoint=row["endpoint"],
                operation=row["operation"],
                api_key_hash=row["api_key_hash"],
                credential_id=row["credential_id"],
                requests=row["requests"],
                prompt_tokens=row["prompt_tokens"],
                completion_tokens=row["completion_tokens"],
                reasoning_tokens=row["reasoning_tokens"],
                cached_tokens=row["cached_tokens"],
                credits_nano_usd=int(row["credits_nano_usd"]),
                byok_list_cost_nano_usd=int(row["byok_list_cost_nano_usd"]),
            )
            for row in rows
        ]

    @override
    async def credits(self, account_id: AccountId) -> CreditsTold:
        (row,) = await self._fetch(_CREDITS, account_id)
        used, available, held = int(row["used"]), int(row["available"]), int(row["held"])
        return CreditsTold(
            added_nano_usd=available + held + used,
            used_nano_usd=used,
            available_nano_usd=available,
            held_nano_usd=held,
        )

    async def _fetch(self, statement: str, *parameters: object) -> Sequence[Any]:
        try:
            with translate():
                return await self._pool.fetch(statement, *parameters)
        except asyncpg.DataError as error:
            raise PoisonRecord(f"PostgreSQL refuses a value: {type(error).__name__}") from None


def _receipt(row: Any) -> Receipt:
    abandoned_because = row["abandoned_because"]
    return Receipt(
        generation_id=row["generation_id"],
        account_id=row["account_id"],
        outcome=row["outcome"] if abandoned_because is None else "abandoned",
        charge=Charge(
            kind=row["kind"],
            list_cost_nano_usd=int(row["list_cost_nano_usd"]),
            fee_percent=row["fee_percent"] if row["kind"] in _FEES else None,
            collected_nano_usd=int(row["collected_nano_usd"]),
            uncollected_nano_usd=int(row["uncollected_nano_usd"]),
            reversed_because=abandoned_because,
        ),
        run_id=row["run_id"],
        api_key_hash=row["api_key_hash"],
        is_byok=row["is_byok"],
        operation=row["operation"],
        requested_model=row["requested_model"],
        model=row["model"],
        provider=row["provider"],
        endpoint=row["endpoint"],
        credential_id=row["credential_id"] if row["is_byok"] else None,
        usage=_usage(row),
        prices=_optional(row["prices"], Prices),
        attempts=msgspec.convert(row["attempts"], tuple[AttemptReceipt, ...]),
        streamed=row["streamed"],
        finish_reason=row["finish_reason"],
        native_finish_reason=row["native_finish_reason"],
        first_token_ms=row["first_token_ms"],
        service_tier=row["service_tier"],
        origin=_optional(row["origin"], RequestOrigin),
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        posted_at=row["posted_at"],
    )


def _usage(row: Any) -> Usage | None:
    if row["prompt_tokens"] is None:
        return None
    return Usage(
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        cached_tokens=row["cached_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        reasoning_tokens=row["reasoning_tokens"],
        estimated=row["estimated"],
    )


def _abandoned(row: Any, generation_id: GenerationId) -> Receipt:
    at = row["created_at"]
    return Receipt(
        generation_id=generation_id,
        account_id=row["account_id"],
        outcome="abandoned",
        charge=Charge(kind="nothing", reversed_because=row["reason"]),
        started_at=started_at(generation_id),
        finished_at=at,
        posted_at=at,
    )


def _optional(value: Any, kind: Any) -> Any:
    return None if value is None else msgspec.convert(value, kind)
