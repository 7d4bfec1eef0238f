-- What happens to an order after it is stored: payments and refunds, returns of its units, events for others, and the
-- reconciliation of the books.
-- Invariants held here:
--   payment_one_pays_an_order     one successful payment pays an order; every other one is refunded
--   stock_return_once             the units of an order go back once
--   refund.payment_id             a payment is refunded once

alter table sale
    add column closed_at         timestamptz,                      -- when it ended: by its hour or by a manager
    add column archived_at       timestamptz,
    add column keys_removed      boolean not null default false,   -- of an archived sale, from Redis
    -- Postgres was found to be older than what Redis had seen: only an operator's rebuild lets the sale go on.
    add column rebuild_required  boolean not null default false;

-- Orders that wait for their payment, by when it is due.
create index orders_due on orders (sale_id, pay_by) where status = 'pending_payment';

create table payment (
    payment_id   text        primary key check (octet_length(payment_id) between 1 and 128),   -- the provider's
    order_id     uuid        not null,
    amount       bigint      not null,                             -- minor units
    currency     char(3)     not null,
    -- created: the shopper was shown where to pay    succeeded: paid its order    surplus: paid nothing, is refunded    failed
    state        text        not null check (state in ('created', 'succeeded', 'surplus', 'failed')),
    payment_url  text,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now()
);
create index payment_of_order on payment (order_id);
create unique index payment_one_pays_an_order on payment (order_id) where state = 'succeeded';

create table refund (
    payment_id    text        primary key references payment (payment_id),
    order_id      uuid        not null,
    reason        text        not null,
    state         text        not null default 'due' check (state in ('due', 'confirmed')),
    attempts      int         not null default 0,
    next_at       timestamptz not null default now(),              -- when the provider is asked next
    last_error    text,
    created_at    timestamptz not null default now(),
    confirmed_at  timestamptz
);
create index refund_due on refund (next_at) where state = 'due';

create table webhook_receipt (
    webhook_id   text        primary key check (octet_length(webhook_id) between 1 and 256),
    type         text        not null,
    order_id     uuid        not null,
    payment_id   text        not null,
    outcome      text        not null,
    received_at  timestamptz not null default now()
);

-- Units on their way back to Redis. Superseded: a rebuild has computed them into the new stock, or the sale is archived.
create table stock_return (
    return_id        bigint      generated always as identity primary key,
    sale_id          text        not null,
    order_id         uuid        not null,
    sku              text        not null,
    user_id          text        not null,
    idempotency_key  text        not null,
    quantity         int         not null check (quantity > 0),
    accepted_at      timestamptz not null,
    epoch            bigint      not null,                         -- of the moment when Postgres gave the units back
    state            text        not null default 'pending' check (state in ('pending', 'applied', 'superseded')),
    created_at       timestamptz not null default now()
) with (fillfactor = 85);
create unique index stock_return_once on stock_return (order_id);
create index stock_return_pending on stock_return (sale_id, return_id) where state = 'pending';

-- How often a shopper has cancelled in a sale: whoever cancels to buy again keeps units from others.
create table user_cancellation (
    sale_id   text not null,
    user_id   text not null,
    orders    int  not null,
    primary key (sale_id, user_id)
);

-- What others may want to know of orders. One row tells the same of many orders, which became so in one transaction.
create table order_event (
    event_id      bigint      generated always as identity primary key,
    sale_id       text        not null,
    type          text        not null check (type in ('placed', 'paid', 'closed')),
    order_ids     uuid[]      not null,
    at            timestamptz not null default now(),
    published_at  timestamptz
);
create index order_event_unpublished on order_event (event_id) where published_at is null;

-- The last comparison of the books of a sale. runs_unbalanced counts runs in a row in which the same difference stood.
create table reconciliation (
    sale_id          text        primary key references sale (sale_id),
    run_at           timestamptz not null,
    runs_unbalanced  int         not null,
    differences      jsonb       not null,                         -- {sku: units}
    full_run_at      timestamptz,                                  -- of the last count of every order
    findings         jsonb       not null default '[]'             -- of that count: what is wrong within Postgres
);

-- One row, counted up by the workers: Redis remembers the last count, and so notices a Postgres that was restored.
create table postgres_beat (beat bigint not null) with (fillfactor = 10);
insert into postgres_beat values (0);
