-- Completions and embeddings apart in the activity. A model at an endpoint does one or the other, so
-- what is there already is of the operation of its receipts.
alter table activity_days add column operation text not null default 'chat';
update activity_days as known set operation = 'embeddings'
from (
    select distinct g.account_id, r.day, coalesce(g.model, '') as model,
           coalesce(g.provider, '') as provider, coalesce(g.endpoint, '') as endpoint
    from receipts r join generations g on g.month = r.month and g.generation_id = r.generation_id
    where r.operation = 'embeddings'
) as embedded
where (known.account_id, known.day, known.model, known.provider, known.endpoint)
    = (embedded.account_id, embedded.day, embedded.model, embedded.provider, embedded.endpoint);
alter table activity_days
    alter column operation drop default,
    drop constraint activity_days_pkey,
    add primary key (account_id, day, model, endpoint, provider, api_key_hash, credential_id,
                     operation);
