-- What an account sets of its API keys. A deleted key's row stays: the books name its hash.
alter table api_keys
    add column limit_nano_usd bigint check (limit_nano_usd >= 0),
    add column limit_reset text check (limit_reset in ('daily', 'weekly', 'monthly')),
    add column include_byok_in_limit boolean not null default false,
    add column expires_at timestamptz,
    add column updated_at timestamptz,
    add column deleted_at timestamptz;
create index api_keys_administered on api_keys (account_id, created_at, hash)
    where deleted_at is null and not management;
