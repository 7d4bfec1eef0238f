-- The tables of the core: sales, orders and what guards them.
-- Invariants held here, whatever Redis believes:
--   sale_item_sold_within_stock   sold never exceeds stock, stock never negative
--   user_quota_within_limit       a user's live units never exceed the limit
--   orders_one_per_key            one order per (user, sale, idempotency key); rejected rows do not count

create sequence sale_number as int minvalue 1 maxvalue 4194303;   -- 22 bit: it is part of every order id

create table sale (
    sale_id             text        primary key,
    number              int         not null unique default nextval('sale_number'),
    name                text        not null check (length(name) between 1 and 200),
    status              text        not null default 'draft' check (status in ('draft', 'live', 'paused', 'closed', 'archived')),
    opens_at            timestamptz not null,
    closes_at           timestamptz not null,
    per_user_limit      int         check (per_user_limit between 1 and 1000000),
    pay_within_seconds  int         not null default 900 check (pay_within_seconds between 1 and 604800),
    requires_ticket     boolean     not null default false,
    epoch               bigint      not null default 0,            -- fences Redis: raised by every load and rebuild
    version             bigint      not null default 1,            -- of what is published: raised by every change
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    constraint sale_opens_before_it_closes check (opens_at < closes_at)
);

create table sale_item (
    sale_id         text    not null references sale (sale_id),
    sku             text    not null check (sku ~ '^[A-Za-z0-9._-]{1,64}$'),
    item_no         int     not null check (item_no >= 1),
    name            text    not null check (length(name) between 1 and 200),
    price           bigint  not null check (price >= 0),           -- minor units
    list_price      bigint  check (list_price >= 0),
    currency        char(3) not null check (currency ~ '^[A-Z]{3}$'),
    stock           int     not null,
    sold            int     not null default 0,
    per_user_limit  int     not null default 1 check (per_user_limit between 1 and 1000000),
    primary key (sale_id, sku),
    unique (sale_id, item_no),
    constraint sale_item_sold_within_stock check (0 <= sold and sold <= stock)
) with (fillfactor = 50);                                          -- sold changes with every batch: keep it HOT

create table orders (
    order_id         uuid        primary key,
    sale_id          text        not null,
    sku              text        not null,
    user_id          text        not null check (octet_length(user_id) between 1 and 64),
    quantity         int         not null check (quantity between 1 and 1000),
    amount           bigint      not null check (amount >= 0),     -- minor units, of all units
    currency         char(3)     not null,
    status           text        not null check (status in ('pending_payment', 'paid', 'refunded', 'cancelled', 'expired', 'rejected')),
    reason           text,
    duplicate_of     uuid,
    idempotency_key  text        not null check (length(idempotency_key) between 1 and 255),
    accepted_at      timestamptz not null,
    placed_at        timestamptz not null default now(),
    pay_by           timestamptz,
    paid_at          timestamptz,
    closed_at        timestamptz
) with (fillfactor = 85);                                          -- a status changes once or twice

create unique index orders_one_per_key on orders (user_id, sale_id, idempotency_key) where status <> 'rejected';
create index orders_of_sale on orders (sale_id, order_id);
create index orders_rejected_of_user on orders (user_id, order_id) where status = 'rejected';

-- Live units of a user: per item, and per sale (sku '') where the sale has a limit of its own.
create table user_quota (
    sale_id     text not null,
    user_id     text not null,
    sku         text not null,
    units       int  not null,
    unit_limit  int  not null,
    primary key (sale_id, user_id, sku),
    constraint user_quota_within_limit check (0 <= units and units <= unit_limit)
) with (fillfactor = 85);

-- A change of stock is applied in two stores; the row says how far it got, so that anyone can finish it.
create table stock_change (
    change_id        bigint      generated always as identity primary key,
    sale_id          text        not null,
    sku              text        not null,
    delta            int         not null check (delta <> 0),
    reason           text        not null,
    actor            text        not null,
    idempotency_key  text        not null,
    state            text        not null default 'pending' check (state in ('pending', 'recorded', 'applied', 'refused')),
    stock            int,                                          -- the answer given, once applied
    remaining        int,
    created_at       timestamptz not null default now(),
    unique (sale_id, sku, idempotency_key),
    foreign key (sale_id, sku) references sale_item (sale_id, sku)
);
create index stock_change_unfinished on stock_change (sale_id) where state in ('pending', 'recorded');

create table dead_letter (
    dead_letter_id  bigint      generated always as identity primary key,
    sale_id         text        not null,
    order_id        uuid        not null,
    record          bytea       not null,                          -- the reservation record as it was accepted
    accepted_at     timestamptz not null,
    error           text        not null,
    sqlstate        text,
    state           text        not null default 'open' check (state in ('open', 'retried', 'rejected')),
    reason          text,
    created_at      timestamptz not null default now(),
    resolved_at     timestamptz
);
create unique index dead_letter_one_open on dead_letter (order_id, md5(record)) where state = 'open';

create table audit_log (
    audit_id  bigint      generated always as identity primary key,
    at        timestamptz not null default now(),
    actor     text        not null,
    role      text        not null,
    action    text        not null,
    subject   text        not null,
    before    jsonb,
    after     jsonb
);
