-- Limits of API keys, and rate limits of shared capacity.

-- What an API key may spend in each window. A window is no counter: what was spent in it is the sum
-- of its spending_days, what is reserved the sum of the key's open holds of those days.
create table api_key_limits (
    api_key_hash text primary key,
    limit_nano_usd numeric(38, 0) check (limit_nano_usd >= 0),
    limit_reset text check (limit_reset in ('daily', 'weekly', 'monthly')),
    include_byok boolean not null,
    version bigint not null
);

-- worst_case_*: of the largest possible answer, at list price. rate_minute: where shared capacity
-- counts it.
alter table holds
    add column if not exists worst_case_nano_usd numeric(38, 0) not null default 0,
    add column worst_case_tokens bigint not null default 0,
    add column rate_minute timestamptz;
create index holds_open_of_key on holds (api_key_hash) where is_open;

-- An account's own limits of shared capacity, by provider; null: the installation's.
create table shared_limits (
    account_id text primary key,
    limits jsonb
);

-- What an account used of shared capacity in each minute; tokens of what runs at their worst case.
create table shared_minutes (
    account_id text not null,
    provider text not null,
    minute timestamptz not null,
    requests bigint not null,
    tokens bigint not null,
    primary key (account_id, provider, minute)
);
create index shared_minutes_minute on shared_minutes using brin (minute);

-- A refusal says what would have fitted, and which limit it was.
alter table spend_refusals
    add column affordable_nano_usd numeric(38, 0),
    add column key_limit jsonb,
    add column rate_limit jsonb;
