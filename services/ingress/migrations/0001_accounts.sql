-- Accounts, their members and API keys. A key's secret is never kept, only its SHA-256.

create table accounts (
    id uuid primary key,
    name text not null,
    byok_only boolean not null default false,
    fee_percent numeric(7, 4) check (fee_percent between 0 and 100),
    free_requests bigint check (free_requests >= 0),
    version bigint not null default 1,
    created_at timestamptz not null default clock_timestamp()
);

create table members (
    id uuid primary key,
    account_id uuid not null references accounts (id),
    role text not null,
    created_at timestamptz not null default clock_timestamp()
);
create index members_account_id on members (account_id);

create table api_keys (
    hash text primary key check (hash ~ '^[0-9a-f]{64}$'),
    account_id uuid not null references accounts (id),
    member_id uuid references members (id),
    label text not null,
    name text not null,
    management boolean not null default false,
    disabled boolean not null default false,
    version bigint not null default 1,
    created_at timestamptz not null default clock_timestamp()
);
create index api_keys_account_id on api_keys (account_id);

-- What a transaction tells the world, written in that same transaction.

-- Facts: one row carries a batch of records; it goes once Kafka has acknowledged them.
create table outbox (
    id bigint generated always as identity primary key,
    records bytea not null,
    created_at timestamptz not null default clock_timestamp()
);

-- Compacted topics: this key's state changed and is to be read and published.
create sequence outbox_dirty_mark;
create table outbox_dirty (
    topic text not null,
    key text not null,
    mark bigint not null default nextval('outbox_dirty_mark'),
    due_at timestamptz not null default clock_timestamp() + interval '2 seconds',
    primary key (topic, key)
);
create index outbox_dirty_due_at on outbox_dirty (due_at);
