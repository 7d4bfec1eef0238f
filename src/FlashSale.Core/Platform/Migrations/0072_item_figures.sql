-- How an item's orders stand, counted as they move: figures of a running sale must not cost a look at every order.
-- Invariant: the sum over the slots of (sale, sku) is that of the orders, at every moment that another transaction can see, since
--   they change in one statement with them.
-- A session counts in a slot of its own, as nearly as may be: payments and packs of one item do not wait for each other here.

create table item_figures (
    sale_id          text   not null,
    sku              text   not null,
    slot             int    not null,
    pending_payment  bigint not null default 0,                    -- units, all of them
    paid             bigint not null default 0,
    cancelled        bigint not null default 0,
    expired          bigint not null default 0,
    rejected         bigint not null default 0,
    refunded         bigint not null default 0,
    primary key (sale_id, sku, slot)
) with (fillfactor = 50);                                          -- changes with every batch: keep it HOT

-- count_orders: carries the orders that one statement has stored or moved into item_figures.
-- Arguments: none; called by the triggers below, with the rows as they are now and, of an update, as they were.
-- Locks: rows of its slot, by sale and sku.
create function count_orders() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into item_figures as f (sale_id, sku, slot, pending_payment, paid, cancelled, expired, rejected, refunded)
        select n.sale_id, n.sku, pg_backend_pid() % 256,
               coalesce(sum(n.quantity) filter (where n.status = 'pending_payment'), 0), coalesce(sum(n.quantity) filter (where n.status = 'paid'), 0),
               coalesce(sum(n.quantity) filter (where n.status = 'cancelled'), 0), coalesce(sum(n.quantity) filter (where n.status = 'expired'), 0),
               coalesce(sum(n.quantity) filter (where n.status = 'rejected'), 0), coalesce(sum(n.quantity) filter (where n.status = 'refunded'), 0)
        from orders_now n group by n.sale_id, n.sku order by n.sale_id, n.sku
        on conflict (sale_id, sku, slot) do update set
            pending_payment = f.pending_payment + excluded.pending_payment, paid = f.paid + excluded.paid, cancelled = f.cancelled + excluded.cancelled,
            expired = f.expired + excluded.expired, rejected = f.rejected + excluded.rejected, refunded = f.refunded + excluded.refunded;
    else
        insert into item_figures as f (sale_id, sku, slot, pending_payment, paid, cancelled, expired, rejected, refunded)
        select m.sale_id, m.sku, pg_backend_pid() % 256,
               coalesce(sum(m.units) filter (where m.status = 'pending_payment'), 0), coalesce(sum(m.units) filter (where m.status = 'paid'), 0),
               coalesce(sum(m.units) filter (where m.status = 'cancelled'), 0), coalesce(sum(m.units) filter (where m.status = 'expired'), 0),
               coalesce(sum(m.units) filter (where m.status = 'rejected'), 0), coalesce(sum(m.units) filter (where m.status = 'refunded'), 0)
        from (select n.sale_id, n.sku, n.status, sum(n.quantity) as units from orders_now n group by n.sale_id, n.sku, n.status
              union all
              select o.sale_id, o.sku, o.status, -sum(o.quantity) from orders_before o group by o.sale_id, o.sku, o.status) m
        group by m.sale_id, m.sku order by m.sale_id, m.sku
        on conflict (sale_id, sku, slot) do update set
            pending_payment = f.pending_payment + excluded.pending_payment, paid = f.paid + excluded.paid, cancelled = f.cancelled + excluded.cancelled,
            expired = f.expired + excluded.expired, rejected = f.rejected + excluded.rejected, refunded = f.refunded + excluded.refunded;
    end if;
    return null;
end $$;

-- Whoever stores an order from here on finds the trigger; those that are there are counted once.
lock table orders in share row exclusive mode;
insert into item_figures (sale_id, sku, slot, pending_payment, paid, cancelled, expired, rejected, refunded)
select o.sale_id, o.sku, 0,
       coalesce(sum(o.quantity) filter (where o.status = 'pending_payment'), 0), coalesce(sum(o.quantity) filter (where o.status = 'paid'), 0),
       coalesce(sum(o.quantity) filter (where o.status = 'cancelled'), 0), coalesce(sum(o.quantity) filter (where o.status = 'expired'), 0),
       coalesce(sum(o.quantity) filter (where o.status = 'rejected'), 0), coalesce(sum(o.quantity) filter (where o.status = 'refunded'), 0)
from orders o group by o.sale_id, o.sku;

create trigger orders_stored after insert on orders referencing new table as orders_now for each statement execute function count_orders();
create trigger orders_moved after update on orders referencing old table as orders_before new table as orders_now
    for each statement execute function count_orders();
