-- What a consumer has taken in: one row for each event, written in the transaction of its effect,
-- so that a record that is delivered again changes nothing.
create table inbox (
    consumer text not null,
    source text not null,
    event_id text not null,
    topic text not null,
    record_partition integer not null,
    record_offset bigint not null,
    received_at timestamptz not null default now(),
    primary key (consumer, source, event_id)
);
create index inbox_received_at on inbox using brin (received_at);
