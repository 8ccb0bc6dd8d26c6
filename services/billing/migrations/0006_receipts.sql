-- The read side: what explains a generation and adds it up. It follows from the facts on Kafka and
-- from the ledger, and `make replay` makes it anew; money stands in the ledger alone.

-- What a generation's row in `generations` does not say of it; the same transaction writes both.
-- The position is that of the record that was booked.
create table receipts (
    account_id text not null,
    generation_id text not null,
    month text not null,
    day date not null,
    record_partition integer not null,
    record_offset bigint not null,
    operation text not null,
    requested_model text,
    streamed boolean not null,
    finish_reason text,
    native_finish_reason text,
    first_token_ms bigint,
    service_tier text,
    origin json,
    fee_percent numeric,
    cached_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    prices json,
    attempts json not null,
    posted_at timestamptz not null default now(),
    -- ids of an account sort by the time of their making: this also lists them
    primary key (account_id, generation_id)
);
create index receipts_posted_at on receipts using brin (posted_at);

-- What delivered something and was not given back, added up. Shared capacity has no credential: ''.
create table activity_days (
    account_id text not null,
    day date not null,
    model text not null,
    provider text not null,
    endpoint text not null,
    api_key_hash text not null,
    credential_id text not null,
    requests bigint not null,
    prompt_tokens bigint not null,
    completion_tokens bigint not null,
    reasoning_tokens bigint not null,
    cached_tokens bigint not null,
    credits_nano_usd numeric(38, 0) not null,
    byok_list_cost_nano_usd numeric(38, 0) not null,
    primary key (account_id, day, model, endpoint, provider, api_key_hash, credential_id)
);
