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
