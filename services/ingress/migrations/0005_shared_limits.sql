-- An account's own rate limits of shared capacity, by provider; null: the installation's.
alter table accounts add column shared_limits jsonb;
