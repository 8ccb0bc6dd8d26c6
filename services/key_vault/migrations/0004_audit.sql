-- What was done to credentials, by whom: a chain of hashes for each account, written in the
-- transaction of the change itself. `entry` is the very text that is hashed
-- (shared/events/credential_audit.py), so that checking the chain needs nothing but SHA-256.
create table audit (
    account_id text not null,
    number bigint not null check (number > 0),
    entry text not null,
    hash text not null check (hash ~ '^[0-9a-f]{64}$'),
    primary key (account_id, number)
);

-- Append only, for the service's own user too: it owns the table, so revoking its rights would not
-- bind it, but a trigger does. Who switches the trigger off is found out by the chain.
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append only', tg_table_name using errcode = 'insufficient_privilege';
end
$$;
create trigger append_only before update or delete on audit
    for each row execute function refuse_change();
create trigger no_truncate before truncate on audit
    for each statement execute function refuse_change();
revoke update, delete, truncate on audit from current_user;

alter table credentials add column note text;

-- A command that sets an order names many credentials.
alter table commands
    alter column credential_id drop not null,
    drop constraint commands_outcome_check,
    add constraint commands_outcome_check
        check (outcome in ('kept', 'forgotten', 'reordered', 'refused'));
