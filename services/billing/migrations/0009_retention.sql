-- What need not stay for ever, and how long it is needed. The service forgets it
-- (services/billing/use_cases/keep_house.py); these triggers let nothing else go.

-- The refusal of a hold sticks for as long as its command can come again, which is minutes. A day is
-- for whoever asks why.
drop trigger no_delete on spend_refusals;
create function refuse_forgetting_refusal() returns trigger language plpgsql as $$
begin
    if old.created_at >= now() - interval '1 day' then
        raise exception '% is append only for a day', tg_table_name
            using errcode = 'insufficient_privilege';
    end if;
    return old;
end
$$;
create trigger kept before delete on spend_refusals
    for each row execute function refuse_forgetting_refusal();
create trigger no_truncate before truncate on spend_refusals
    for each statement execute function refuse_change();
create index spend_refusals_created_at on spend_refusals using brin (created_at);

-- A hold that has ended is what a late fact is priced by, and what reconciliation holds transfers
-- against: until no fact of it can be delivered any more (they stay in Kafka for 35 days), and its
-- month is sealed. It goes together with its ending.
create function refuse_forgetting_hold() returns trigger language plpgsql as $$
begin
    if old.is_open or old.hold_until >= now() - interval '42 days'
        or old.month > coalesce((select max(month) from month_seals), '')
    then
        raise exception '% is append only until 42 days after the end, and for unsealed months',
            tg_table_name using errcode = 'insufficient_privilege';
    end if;
    return old;
end
$$;
create function refuse_forgetting_ending() returns trigger language plpgsql as $$
begin
    if old.ended_at >= now() - interval '42 days'
        or exists (select from holds where hold_id = old.hold_id)
    then
        raise exception '% is append only for 42 days, and while the hold is there', tg_table_name
            using errcode = 'insufficient_privilege';
    end if;
    return old;
end
$$;
alter table hold_endings
    drop constraint hold_endings_hold_id_fkey,
    add foreign key (hold_id) references holds on delete cascade;
drop trigger no_delete on holds;
create trigger kept before delete on holds
    for each row execute function refuse_forgetting_hold();
create trigger no_truncate before truncate on holds
    for each statement execute function refuse_change();
drop trigger append_only on hold_endings;
create trigger append_only before update on hold_endings
    for each row execute function refuse_change();
create trigger kept before delete on hold_endings
    for each row execute function refuse_forgetting_ending();

grant delete on spend_refusals, holds, hold_endings to current_user;

-- API keys that were deleted, until what is known of each by itself is no longer needed. What was
-- spent with it then counts under the key '' of its account, of which GET /credits is the sum.
create table deleted_keys (
    api_key_hash text primary key,
    account_id text not null,
    deleted_at timestamptz not null default now()
);
create index deleted_keys_deleted_at on deleted_keys (deleted_at);
