-- Keeps one API key's requests off shared capacity, as `accounts.byok_only` keeps all of an account's.
alter table api_keys add column byok_only boolean not null default false;
