"""Writes the read side in the posting's transaction: one COPY, one addition, rarely a subtraction."""

from typing import Any, Final

from services.billing.domain.activity import activity_of
from services.billing.domain.generation import day_of_generation
from services.billing.domain.receipt import Position, Receipts
from shared.events.generations import GenerationFinished
from shared.postgres.pool import Connection

RECEIPT_COLUMNS: Final = (
    "account_id",
    "generation_id",
    "month",
    "day",
    "record_partition",
    "record_offset",
    "operation",
    "requested_model",
    "streamed",
    "finish_reason",
    "native_finish_reason",
    "first_token_ms",
    "service_tier",
    "origin",
    "fee_percent",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "prices",
    "attempts",
)
_ADD_ACTIVITY: Final = """
insert into activity_days as known (
    account_id, day, model, provider, endpoint, api_key_hash, credential_id, operation, requests,
    prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, credits_nano_usd,
    byok_list_cost_nano_usd)
select * from unnest($1::text[], $2::date[], $3::text[], $4::text[], $5::text[], $6::text[],
                     $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[],
                     $12::bigint[], $13::bigint[], $14::numeric[], $15::numeric[])
on conflict (account_id, day, model, endpoint, provider, api_key_hash, credential_id, operation)
do update set
    requests = known.requests + excluded.requests,
    prompt_tokens = known.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = known.completion_tokens + excluded.completion_tokens,
    reasoning_tokens = known.reasoning_tokens + excluded.reasoning_tokens,
    cached_tokens = known.cached_tokens + excluded.cached_tokens,
    credits_nano_usd = known.credits_nano_usd + excluded.credits_nano_usd,
    byok_list_cost_nano_usd = known.byok_list_cost_nano_usd + excluded.byok_list_cost_nano_usd
"""
USED_BY: Final = """
    g.account_id, r.day, coalesce(g.model, '') as model, coalesce(g.provider, '') as provider,
    coalesce(g.endpoint, '') as endpoint, g.api_key_hash,
    case when g.is_byok then coalesce(g.credential_id, '') else '' end as credential_id,
    r.operation, count(*) as requests, sum(g.prompt_tokens)::bigint as prompt_tokens,
    sum(g.completion_tokens)::bigint as completion_tokens,
    sum(r.reasoning_tokens)::bigint as reasoning_tokens,
    sum(r.cached_tokens)::bigint as cached_tokens,
    sum(g.collected_nano_usd) as credits_nano_usd,
    sum(case when g.is_byok then g.list_cost_nano_usd else 0 end) as byok_list_cost_nano_usd
"""
"""`activity_of` in SQL: columns of `receipts r` and `generations g`, grouped by the first eight."""
_GIVE_BACK: Final = f"""
with gone as (
    select {USED_BY}
    from receipts r join generations g on g.month = r.month and g.generation_id = r.generation_id
    where (r.account_id, r.generation_id) in (select * from unnest($1::text[], $2::text[]))
    group by 1, 2, 3, 4, 5, 6, 7, 8
)
update activity_days as known set
    requests = known.requests - gone.requests,
    prompt_tokens = known.prompt_tokens - gone.prompt_tokens,
    completion_tokens = known.completion_tokens - gone.completion_tokens,
    reasoning_tokens = known.reasoning_tokens - gone.reasoning_tokens,
    cached_tokens = known.cached_tokens - gone.cached_tokens,
    credits_nano_usd = known.credits_nano_usd - gone.credits_nano_usd,
    byok_list_cost_nano_usd = known.byok_list_cost_nano_usd - gone.byok_list_cost_nano_usd
from gone
where (known.account_id, known.day, known.model, known.provider, known.endpoint,
       known.api_key_hash, known.credential_id, known.operation)
    = (gone.account_id, gone.day, gone.model, gone.provider, gone.endpoint, gone.api_key_hash,
       gone.credential_id, gone.operation)
"""  # noqa: S608 - constants only
_DROP_EMPTY: Final = """
delete from activity_days where account_id = any($1::text[]) and requests = 0
"""


async def store_receipts(connection: Connection, receipts: Receipts) -> None:
    """Store what a page adds to the read side, after its entries and in their transaction."""
    if receipts.told:
        await connection.copy_records_to_table(
            "receipts",
            records=[
                receipt_row(each.finished.fact, each.position, each.month) for each in receipts.told
            ],
            columns=RECEIPT_COLUMNS,
        )
        activity = activity_of(each.finished for each in receipts.told)
        if activity:
            rows = [
                (
                    *key,
                    used.requests,
                    used.prompt_tokens,
                    used.completion_tokens,
                    used.reasoning_tokens,
                    used.cached_tokens,
                    used.credits_nano_usd,
                    used.byok_list_cost_nano_usd,
                )
                for key, used in activity.items()
            ]
            await connection.execute(_ADD_ACTIVITY, *zip(*rows, strict=True))
    if receipts.given_back:
        accounts = [account_id for account_id, _ in receipts.given_back]
        ids = [generation_id for _, generation_id in receipts.given_back]
        await connection.execute(_GIVE_BACK, accounts, ids)
        await connection.execute(_DROP_EMPTY, accounts)


def receipt_row(fact: GenerationFinished, position: Position, month: str) -> tuple[Any, ...]:
    """The row of a fact, by RECEIPT_COLUMNS, whose posting stands in a month of the books.

    The same fact always makes the same row.
    """
    usage, spend = fact.usage, fact.spend
    return (
        fact.account_id,
        fact.generation_id,
        month,
        day_of_generation(fact.generation_id),
        position.partition,
        position.offset,
        fact.operation,
        fact.requested_model,
        fact.streamed,
        fact.finish_reason,
        fact.native_finish_reason,
        fact.first_token_ms,
        fact.service_tier,
        fact.origin,
        None if spend is None else spend.fee_percent,
        None if usage is None else usage.cached_tokens,
        None if usage is None else usage.cache_write_tokens,
        None if usage is None else usage.reasoning_tokens,
        fact.prices,
        fact.attempts,
    )
