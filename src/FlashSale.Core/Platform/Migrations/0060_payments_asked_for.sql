-- What the hosts must remember to ask the provider about payments that it has told nothing of, to bound shoppers who
-- reserve and do not pay, and to bring decisions on dead letters to Redis.
-- Invariants held here:
--   user_quota.kept         units of a user's quota that no live order holds and that were not given back: units = live + kept
--   stock_return.keeps_count  such a return gives the units to others, and not to the user's own limit

alter table payment
    add column payment_no   bigint generated always as identity,    -- rises with time; what lists are cut by
    add column ask_at       timestamptz,                            -- when the provider is asked what became of it; null: no more
    add column asks         int         not null default 0,         -- how often it has been asked
    add column answered_at  timestamptz,                            -- when it last answered
    add column ask_error    text;                                   -- why there was no answer to rely on
create index payment_first_ask on payment (ask_at) where ask_at is not null and asks = 0;
create index payment_next_ask on payment (ask_at) where ask_at is not null and asks > 0;
create index payment_created on payment (payment_no) where state = 'created';

-- How often the provider has refused to make a payment of an order: the next request carries another idempotency key, since a
-- provider may answer a key with its first refusal for ever.
create table payment_refusal (
    order_id  uuid  primary key,
    refusals  int   not null
);
alter table refund add column refusals int not null default 0;

-- A notice that was kept although nothing follows from it: outcome partial_refund, unknown_order or amount_mismatch.
alter table webhook_receipt
    add column receipt_no  bigint generated always as identity,
    add column amount      bigint,                                  -- minor units
    add column currency    char(3);
create index webhook_receipt_unmatched on webhook_receipt (receipt_no) where outcome in ('partial_refund', 'unknown_order', 'amount_mismatch');

-- What was done to one order or sale.
create index audit_of_subject on audit_log (subject, audit_id);

create index webhook_receipt_of_order on webhook_receipt (order_id);
create index refund_of_order on refund (order_id);

alter table user_quota
    add column kept int not null default 0,
    add constraint user_quota_kept_within_units check (0 <= kept and kept <= units);
alter table stock_return add column keeps_count boolean not null default false;

-- Orders that a shopper gave up (orders) or let expire (expired) in a sale.
alter table user_cancellation
    alter column orders set default 0,
    add column expired int not null default 0;

-- Decided in Postgres first; settled_at says that Redis has been told.
alter table dead_letter add column settled_at timestamptz;
update dead_letter set settled_at = resolved_at where state <> 'open';
create index dead_letter_unsettled on dead_letter (dead_letter_id) where state <> 'open' and settled_at is null;
create index dead_letter_of_order on dead_letter (order_id);
