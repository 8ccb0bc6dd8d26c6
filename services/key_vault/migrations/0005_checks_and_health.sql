-- The check of each credential's present key: the last one asked for, and its result once it is there.
-- Beside the credentials and not in them: how a key fares must not make a new version of its state.
create table credential_checks (
    account_id text not null,
    credential_id text not null,
    secret_revision integer not null check (secret_revision > 0),
    requested_at timestamptz not null,
    result jsonb,
    primary key (account_id, credential_id),
    foreign key (account_id, credential_id) references credentials on delete cascade
);

-- What dispatchers observed of each credential in use, the newest of each kind.
create table credential_health (
    account_id text not null,
    credential_id text not null,
    last_used_at timestamptz,
    last_success_at timestamptz,
    error_failure text,
    error_provider_status integer,
    error_endpoint text,
    error_at timestamptz,
    cooling_down_until timestamptz,
    observed_at timestamptz not null,
    primary key (account_id, credential_id),
    foreign key (account_id, credential_id) references credentials on delete cascade,
    check ((error_at is null) = (error_failure is null)),
    check ((error_at is null) = (error_endpoint is null))
);

-- What billing booked for each credential, by the UTC month in which the generation started.
create table credential_usage (
    account_id text not null,
    credential_id text not null,
    month text not null,
    requests bigint not null,
    fees_nano_usd numeric(38, 0) not null,
    primary key (account_id, credential_id, month),
    foreign key (account_id, credential_id) references credentials on delete cascade
);
