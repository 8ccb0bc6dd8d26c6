-- The books: accounts with their counters, and everything that ever changed them.
-- Amounts are nano-USD. Months are UTC, 'YYYY-MM', of the moment at which a generation started.

create table accounts (
    account_id text primary key,
    available_nano_usd numeric(38, 0) not null default 0 check (available_nano_usd >= 0),
    held_nano_usd numeric(38, 0) not null default 0 check (held_nano_usd >= 0),
    version bigint not null default 0,
    fee_percent numeric check (fee_percent between 0 and 100),
    free_requests bigint check (free_requests >= 0),
    policy_version bigint not null default 0,
    created_at timestamptz not null default now()
);

-- BYOK requests of a month: made with success, and promised a waived slot while they run.
create table allotments (
    account_id text not null references accounts,
    month text not null,
    used bigint not null default 0 check (used >= 0),
    reserved bigint not null default 0 check (reserved >= 0),
    primary key (account_id, month)
);

-- Double entry: amount_nano_usd moves from debit to credit. The id is made from what it is about,
-- so the same movement cannot be written twice.
create table transfers (
    month text not null,
    transfer_id text not null,
    kind text not null,
    account_id text not null,
    generation_id text,
    hold_id text,
    debit text not null,
    credit text not null check (credit <> debit),
    amount_nano_usd numeric(38, 0) not null check (amount_nano_usd > 0),
    created_at timestamptz not null default now(),
    primary key (month, transfer_id)
) partition by list (month);
create table transfers_default partition of transfers default;
create index transfers_account on transfers (account_id, created_at);

-- The one posting of a generation: the primary key is "each generation ends once".
create table generations (
    month text not null,
    generation_id text not null,
    account_id text not null,
    api_key_hash text not null,
    kind text not null
        check (kind in ('nothing', 'fee_waived', 'fee_deducted', 'credits_charged')),
    list_cost_nano_usd numeric(38, 0) not null,
    collected_nano_usd numeric(38, 0) not null check (collected_nano_usd >= 0),
    uncollected_nano_usd numeric(38, 0) not null check (uncollected_nano_usd >= 0),
    run_id text not null,
    outcome text not null,
    is_byok boolean not null,
    model text,
    provider text,
    endpoint text,
    credential_id text,
    hold_id text,
    prompt_tokens bigint,
    completion_tokens bigint,
    estimated boolean,
    started_at timestamptz not null,
    finished_at timestamptz not null,
    posted_at timestamptz not null default now(),
    primary key (month, generation_id)
) partition by list (month);
create table generations_default partition of generations default;

-- Nothing of these generations may be charged; 'abandoned' also reverses what was posted.
create table abandonments (
    month text not null,
    generation_id text not null,
    kind text not null check (kind in ('abandoned', 'released')),
    account_id text not null,
    reason text not null,
    created_at timestamptz not null default now(),
    primary key (month, generation_id, kind)
);

-- What a running attempt was promised. Only is_open ever changes, once.
create table holds (
    hold_id text primary key,
    month text not null,
    generation_id text not null,
    run_id text not null,
    account_id text not null references accounts,
    api_key_hash text not null,
    is_byok boolean not null,
    provider text not null,
    waived boolean not null,
    fee_percent numeric,
    amount_nano_usd numeric(38, 0) not null check (amount_nano_usd >= 0),
    hold_until timestamptz not null,
    is_open boolean not null default true,
    created_at timestamptz not null default now()
);
create unique index holds_one_open_a_generation on holds (month, generation_id) where is_open;
create index holds_open_until on holds (hold_until) where is_open;

-- Each hold ends exactly once.
create table hold_endings (
    hold_id text primary key references holds,
    ending text not null check (ending in ('posted', 'released', 'expired', 'replaced')),
    ended_at timestamptz not null default now()
);

-- A refusal sticks: the same hold id gets the same answer.
create table spend_refusals (
    hold_id text primary key,
    account_id text not null,
    code text not null,
    message text not null,
    needed_nano_usd numeric(38, 0) not null,
    available_nano_usd numeric(38, 0) not null,
    created_at timestamptz not null default now()
);

-- Credits in: the key makes it once.
create table top_ups (
    account_id text not null references accounts,
    key text not null,
    amount_nano_usd numeric(38, 0) not null check (amount_nano_usd > 0),
    created_at timestamptz not null default now(),
    primary key (account_id, key)
);

-- What was spent with each API key on each UTC day; written with the posting.
create table spending_days (
    account_id text not null,
    api_key_hash text not null,
    day date not null,
    credits_nano_usd numeric(38, 0) not null default 0,
    byok_list_cost_nano_usd numeric(38, 0) not null default 0,
    requests bigint not null default 0,
    primary key (account_id, api_key_hash, day)
);

-- Append only, for the service's own user too: it owns the tables, so revoking its rights would not
-- bind it, but a trigger does.
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append only', tg_table_name using errcode = 'insufficient_privilege';
end
$$;
create trigger append_only before update or delete on transfers
    for each row execute function refuse_change();
create trigger append_only before update or delete on generations
    for each row execute function refuse_change();
create trigger append_only before update or delete on hold_endings
    for each row execute function refuse_change();
create trigger append_only before update or delete on abandonments
    for each row execute function refuse_change();
create trigger append_only before update or delete on top_ups
    for each row execute function refuse_change();
create trigger no_truncate before truncate on hold_endings
    for each statement execute function refuse_change();
create trigger no_truncate before truncate on abandonments
    for each statement execute function refuse_change();
create trigger no_truncate before truncate on top_ups
    for each statement execute function refuse_change();
create trigger no_truncate before truncate on transfers
    for each statement execute function refuse_change();
create trigger no_truncate before truncate on transfers_default
    for each statement execute function refuse_change();
create trigger no_truncate before truncate on generations
    for each statement execute function refuse_change();
create trigger no_truncate before truncate on generations_default
    for each statement execute function refuse_change();
revoke update, delete, truncate
    on transfers, transfers_default, generations, generations_default, hold_endings, abandonments, top_ups
    from current_user;

-- A month gets partitions of its own, made before it begins. Rows of a month without one stand in
-- the default partition, and then stay there: the month is left alone.
create function open_month(month text) returns void language plpgsql as $$
declare
    parent text;
    part text;
begin
    perform pg_advisory_xact_lock(hashtextextended('openroute.months.' || current_schema(), 0));
    foreach parent in array array['transfers', 'generations'] loop
        part := parent || '_' || replace(open_month.month, '-', '_');
        continue when to_regclass(part) is not null;
        begin
            execute format('create table %I partition of %I for values in (%L)',
                           part, parent, open_month.month);
            execute format('create trigger no_truncate before truncate on %I '
                           'for each statement execute function refuse_change()', part);
            execute format('revoke update, delete, truncate on %I from current_user', part);
        exception when check_violation then
            null;
        end;
    end loop;
end
$$;

-- Every statement of the hot path is planned for the rows it is given: a plan kept from an empty
-- table would scan a full one.
alter role current_user set plan_cache_mode = 'force_custom_plan';
