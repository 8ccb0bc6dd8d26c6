-- Whether a key had a limit before its present state: then billing must be told that it has none now.
-- Of keys whose limit was taken away before this file nobody knows; to tell once too often is harmless.
alter table api_keys add column had_limit boolean not null default false;
update api_keys set had_limit = true where version > 1;
