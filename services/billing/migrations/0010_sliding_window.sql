-- Rate limits of shared capacity by the second, so that the window slides. What the last minutes held
-- counts as of their last second: for up to a minute after this file less passes, never more.
-- Seconds are those since 1970: they are read by the dozen with every request for shared capacity.
create table shared_seconds (
    account_id text not null,
    provider text not null,
    second bigint not null,
    requests bigint not null,
    tokens bigint not null,
    primary key (account_id, provider, second)
);
create index shared_seconds_second on shared_seconds using brin (second);
comment on table shared_seconds is
    'what an account used of shared capacity in each second; tokens of what runs at their worst case';
insert into shared_seconds (account_id, provider, second, requests, tokens)
select account_id, provider, extract(epoch from minute)::bigint + 59, requests, tokens
from shared_minutes where minute > now() - interval '3 minutes';
drop table shared_minutes;

-- The second in which shared capacity counts a hold, in place of the minute.
alter table holds drop column rate_minute, add column rate_second bigint;
