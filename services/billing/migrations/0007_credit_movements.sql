-- Credits in and out: all that changes an account's credits and is no generation. One space of keys
-- an account; the hash of the input tells a repetition from another movement under the same key.
alter table top_ups rename to credit_movements;
alter table credit_movements
    drop constraint top_ups_amount_nano_usd_check,
    add column kind text not null default 'cash'
        check (kind in ('cash', 'promotion', 'refund', 'refund_reversed', 'correction')),
    add column input_hash text,
    add column uncollected_nano_usd numeric(38, 0) not null default 0,
    add column credits_nano_usd numeric(38, 0),
    add column reason text,
    add column reference text,
    add column payment_id text;
comment on column credit_movements.amount_nano_usd is 'how the credits changed';
comment on column credit_movements.uncollected_nano_usd is
    'of a refund, what the credits did not cover; of its reversal, what of that is covered again (below zero)';
comment on column credit_movements.credits_nano_usd is
    'the credits then; null for movements from before this was kept';

-- Top-ups until now: the same input as `input_hash` in services/billing/domain/movement.py has it.
alter table credit_movements disable trigger append_only;
grant update on credit_movements to current_user;
update credit_movements set input_hash = encode(
    sha256(convert_to('["cash",' || amount_nano_usd || ',null,null,null]', 'UTF8')), 'hex');
revoke update on credit_movements from current_user;
alter table credit_movements enable trigger append_only;

alter table credit_movements
    alter column kind drop default,
    alter column input_hash set not null,
    add check (amount_nano_usd <> 0 or uncollected_nano_usd <> 0),
    add check (kind not in ('cash', 'promotion') or amount_nano_usd > 0),
    add check (kind <> 'refund' or (amount_nano_usd <= 0 and uncollected_nano_usd >= 0)),
    add check (kind <> 'refund_reversed' or (amount_nano_usd >= 0 and uncollected_nano_usd <= 0));
-- A payment is credited once, whatever accounts it is said to be of.
create unique index credit_movements_one_a_payment on credit_movements (payment_id)
    where kind = 'cash' and payment_id is not null;
create index credit_movements_payment on credit_movements (payment_id) where payment_id is not null;

-- What a payment provider says of a payment besides that it came in; kept also before it did.
create table payment_reports (
    payment_id text not null,
    kind text not null check (kind in ('refunded', 'withdrawn', 'reinstated')),
    subject text not null,
    amount_nano_usd numeric(38, 0) not null check (amount_nano_usd > 0),
    created_at timestamptz not null default clock_timestamp(),
    primary key (payment_id, kind, subject)
);
comment on column payment_reports.subject is
    'the dispute; of refunds, which are told as all that was refunded by now, that amount';
create trigger append_only before update or delete on payment_reports
    for each row execute function refuse_change();
create trigger no_truncate before truncate on payment_reports
    for each statement execute function refuse_change();
revoke update, delete, truncate on payment_reports from current_user;
