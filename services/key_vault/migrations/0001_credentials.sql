-- Provider keys as ciphertext of Vault's Transit key `credentials`, with the policy of their use.
create table credentials (
    account_id text not null,
    credential_id text not null,
    provider text not null,
    label text not null,
    name text,
    enabled boolean not null,
    section text not null check (section in ('prioritized', 'fallback')),
    always_use boolean not null,
    "order" integer not null check ("order" >= 0),
    filters jsonb not null,
    deployments jsonb,
    -- Nothing but a Transit ciphertext can be stored; a deleted credential has none.
    ciphertext text check (ciphertext like 'vault:v%'),
    secret_revision integer not null check (secret_revision > 0),
    version bigint not null check (version > 0),
    -- Whether the state that was last published under this key is a living credential.
    announced boolean not null default false,
    created_at timestamptz not null,
    changed_at timestamptz not null,
    deleted_at timestamptz,
    primary key (account_id, credential_id),
    check ((ciphertext is null) = (deleted_at is not null))
);
create index credentials_announced on credentials (account_id) where announced;
create index credentials_deleted_at on credentials (deleted_at) where deleted_at is not null;

-- Commands that were carried out or refused, with their answers, so that one that is delivered again
-- changes nothing. No answer holds a secret. Rows are kept for longer than a command can come again.
create table commands (
    account_id text not null,
    command_id text not null,
    command_type text not null,
    credential_id text not null,
    outcome text not null check (outcome in ('kept', 'forgotten', 'refused')),
    reply jsonb not null,
    carried_out_at timestamptz not null,
    primary key (account_id, command_id)
);
create index commands_carried_out_at on commands using brin (carried_out_at);
