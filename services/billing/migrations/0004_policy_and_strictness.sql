-- An allotment by list cost beside the one by requests; and what was left to our own care, held by
-- the database itself.

alter table accounts
    add column allotment_rule text check (allotment_rule in ('requests', 'list_cost')),
    add column free_list_cost_nano_usd numeric(38, 0) check (free_list_cost_nano_usd >= 0);

-- The list cost that was waived in a month, and the worst cases of running waived requests.
alter table allotments
    add column list_cost_used_nano_usd numeric(38, 0) not null default 0
        check (list_cost_used_nano_usd >= 0),
    add column list_cost_reserved_nano_usd numeric(38, 0) not null default 0
        check (list_cost_reserved_nano_usd >= 0);
update allotments set list_cost_used_nano_usd = coalesce((
    select sum(list_cost_nano_usd) from generations
    where generations.account_id = allotments.account_id
      and generations.month = allotments.month and kind = 'fee_waived' and not exists (
        select from abandonments
        where abandonments.month = generations.month and abandonments.kind = 'abandoned'
          and abandonments.generation_id = generations.generation_id
    )
), 0);

-- A hold id with other input than before is a conflict, refused or not. Commands from before this
-- file, which have no hash, can no longer come again: they expire in seconds.
alter table holds
    add column worst_case_nano_usd numeric(38, 0) not null default 0
        check (worst_case_nano_usd >= 0),
    add column input_hash bytea not null default '';
alter table holds alter column worst_case_nano_usd drop default,
                  alter column input_hash drop default;
alter table spend_refusals add column input_hash bytea not null default '';
alter table spend_refusals alter column input_hash drop default;

-- A generation stands in the month of its id, so that no other month can hold it once more.
-- (Written so that PostgreSQL puts the expression itself in the place of each call.)
create function month_of_generation(generation_id text) returns text
    language sql immutable parallel safe
    return extract(
            year from uuid_extract_timestamp(substr(generation_id, 5)::uuid) at time zone 'UTC'
        )::text || '-' || lpad(extract(
            month from uuid_extract_timestamp(substr(generation_id, 5)::uuid) at time zone 'UTC'
        )::text, 2, '0');
alter table generations add constraint generations_month_of_id
    check (coalesce(month = month_of_generation(generation_id), false));
alter table abandonments add constraint abandonments_month_of_id
    check (coalesce(month = month_of_generation(generation_id), false));
alter table holds add constraint holds_month_of_id
    check (coalesce(month = month_of_generation(generation_id), false));

-- A hold is opened once, closed once, and never otherwise changed.
create function refuse_all_but_closing() returns trigger language plpgsql as $$
declare
    closed holds := old;
begin
    closed.is_open := false;
    if not old.is_open or new is distinct from closed then
        raise exception 'a hold is only ever closed, once'
            using errcode = 'insufficient_privilege';
    end if;
    return new;
end
$$;
create trigger closed_once before update on holds
    for each row execute function refuse_all_but_closing();

-- It is closed exactly when its ending is there: looked at as the transaction commits.
create function closed_with_its_ending() returns trigger language plpgsql as $$
begin
    if (select is_open from holds where hold_id = new.hold_id)
        = exists (select from hold_endings where hold_id = new.hold_id)
    then
        raise exception 'hold % is open with an ending, or closed without one', new.hold_id
            using errcode = 'check_violation';
    end if;
    return null;
end
$$;
create constraint trigger closed_with_its_ending after insert or update on holds
    deferrable initially deferred
    for each row when (not new.is_open) execute function closed_with_its_ending();
create constraint trigger closed_with_its_ending after insert on hold_endings
    deferrable initially deferred
    for each row execute function closed_with_its_ending();

-- Refusals stick, and what counters, holds and refusals stand for is not deleted.
create trigger append_only before update on spend_refusals
    for each row execute function refuse_change();
create trigger no_delete before delete or truncate on spend_refusals
    for each statement execute function refuse_change();
create trigger no_delete before delete or truncate on holds
    for each statement execute function refuse_change();
create trigger no_delete before delete or truncate on accounts
    for each statement execute function refuse_change();
create trigger no_delete before delete or truncate on allotments
    for each statement execute function refuse_change();
revoke update, delete, truncate on spend_refusals from current_user;
revoke delete, truncate on holds, accounts, allotments from current_user;
