-- Whether a key had a limit before its present state: then billing must be told that it has none now.
-- Of keys whose limit was taken away before this file nobody knows; to tell once too often is harmless.
alter table api_keys add column had_limit boolean not null default false;
update api_keys set had_limit = true where version > 1;

-- Keys that were deleted before `deleted` was told are told of again.
insert into outbox_dirty (topic, key)
select 'api-keys.state', hash from api_keys where deleted_at is not null order by hash
on conflict (topic, key) do update set mark = excluded.mark, due_at = excluded.due_at;
