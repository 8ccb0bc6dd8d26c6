-- Dead letters that somebody has looked at: reconciliation is clean only when each of them is here.
-- A record is known by where it stands and by its event, so that another one that comes to stand
-- there, as when a topic was made anew, is not taken for it.
create table acknowledged_dead_letters (
    topic text not null,
    record_partition integer not null,
    record_offset bigint not null,
    event_id text not null,
    letter text not null,
    reason text not null check (reason <> ''),
    acknowledged_by text not null check (acknowledged_by <> ''),
    acknowledged_at timestamptz not null default clock_timestamp(),
    primary key (topic, record_partition, record_offset, event_id)
);
comment on column acknowledged_dead_letters.letter is 'why it was put aside, as it said then';
comment on column acknowledged_dead_letters.reason is 'what was decided about it';
create trigger append_only before update or delete on acknowledged_dead_letters
    for each row execute function refuse_change();
create trigger no_truncate before truncate on acknowledged_dead_letters
    for each statement execute function refuse_change();
revoke update, delete, truncate on acknowledged_dead_letters from current_user;
