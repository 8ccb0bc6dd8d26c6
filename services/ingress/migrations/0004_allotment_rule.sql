-- An account's own allotment may be measured by list cost in place of requests; null is the
-- installation's setting, as with its other policy.
alter table accounts
    add column allotment_rule text check (allotment_rule in ('requests', 'list_cost')),
    add column free_list_cost_nano_usd numeric(38, 0)
        check (free_list_cost_nano_usd between 0 and 1000000000000000000);
