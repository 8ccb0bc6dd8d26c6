-- A month that is over is closed, so that nothing more is written into it, and then sealed: how many
-- rows, their sum and their hash. What comes later stands in the month in which it came, and names
-- the month that it corrects.

alter table transfers add column corrects_month text check (corrects_month < month);
alter table generations add column corrects_month text check (corrects_month < month);

-- A late posting stands in another month than that of its id: it is the corrected one that must be.
alter table generations drop constraint generations_month_of_id;
alter table generations add constraint generations_month_of_id check (
    coalesce(coalesce(corrects_month, month) = month_of_generation(generation_id), false)
);

create table closed_months (
    month text primary key,
    closed_at timestamptz not null default now()
);

-- The hash is over the columns named here, so that columns added later do not change it, and over
-- the seal of the month before.
create table month_seals (
    month text primary key,
    transfers bigint not null,
    generations bigint not null,
    amount_nano_usd numeric(38, 0) not null,
    transfer_columns text[] not null,
    generation_columns text[] not null,
    previous_sha256 text not null,
    sha256 text not null,
    sealed_at timestamptz not null default now()
);

-- Where the posting of a generation stands whose own month was closed before: the primary key is
-- "each generation ends once" for these.
create table late_generations (
    generation_id text primary key,
    month text not null
);

create trigger append_only before update or delete on closed_months
    for each row execute function refuse_change();
create trigger append_only before update or delete on month_seals
    for each row execute function refuse_change();
create trigger append_only before update or delete on late_generations
    for each row execute function refuse_change();
create trigger no_truncate before truncate on closed_months
    for each statement execute function refuse_change();
create trigger no_truncate before truncate on month_seals
    for each statement execute function refuse_change();
create trigger no_truncate before truncate on late_generations
    for each statement execute function refuse_change();
revoke update, delete, truncate on closed_months, month_seals, late_generations from current_user;

-- Billing knows this error: it reads which months are closed and writes elsewhere.
create function refuse_posting() returns trigger language plpgsql as $$
begin
    raise exception 'month % is closed', new.month
        using errcode = 'object_not_in_prerequisite_state';
end
$$;

-- The trigger is made here, so that open months, which everything is written into, have none. Making
-- it waits for those who are writing into the month.
create function close_month(month text) returns void language plpgsql as $$
declare
    parent text;
    part text;
begin
    perform open_month(close_month.month);
    insert into closed_months (month) values (close_month.month) on conflict do nothing;
    if not found then
        return;
    end if;
    foreach parent in array array['transfers', 'generations'] loop
        part := parent || '_' || replace(close_month.month, '-', '_');
        if to_regclass(part) is not null then
            execute format('create trigger closed before insert on %I '
                           'for each row execute function refuse_posting()', part);
        else
            execute format('create trigger %I before insert on %I '
                           'for each row when (new.month = %L) execute function refuse_posting()',
                           'closed_' || close_month.month, parent || '_default', close_month.month);
        end if;
    end loop;
end
$$;
