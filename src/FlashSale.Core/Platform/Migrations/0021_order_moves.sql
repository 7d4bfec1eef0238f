-- close_orders: ends orders of one sale that hold units: cancels or expires those that wait for payment, refunds paid ones.
-- Arguments: sale id, its number, the orders, the status they must have, the one they get, a reason, and when they must
--   have been due at the latest (null: no matter).
-- Answers the orders that were moved. Another status, then or by now, moves nothing: the row count decides.
-- Invariant: in one transaction with the move go the units (sold, user_quota), the row that carries them back to Redis,
--   and the event. So a unit is never in two accounts, whatever dies.
-- Locks, in this order: the sale's advisory lock (shared), orders by id, items by sku, quotas by (user, sku).
create function close_orders(
    p_sale_id text, p_number int, p_order_ids uuid[], p_from text, p_to text, p_reason text, p_due timestamptz)
returns setof uuid
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
#variable_conflict use_column
declare
    v_sale        sale%rowtype;
    v_ids         uuid[];
    v_skus        text[];
    v_users       text[];
    v_quantities  int[];
begin
    perform pg_advisory_xact_lock_shared(1, p_number);
    -- After the lock: the epoch is the one under which Redis has these units, or will have computed them.
    select * into v_sale from sale s where s.sale_id = p_sale_id;
    perform 1 from orders o where o.order_id = any (p_order_ids) order by o.order_id for update;

    with moved as (
        update orders o set status = p_to, reason = p_reason, closed_at = now()
        -- By their ids, whatever the planner believes of a table that was empty a minute ago.
        where o.order_id = any (p_order_ids) and o.sale_id || '' = p_sale_id and o.status || '' = p_from and (p_due is null or o.pay_by <= p_due)
        returning o.order_id, o.sku, o.user_id, o.quantity, o.idempotency_key, o.accepted_at),
    returned as (
        insert into stock_return (sale_id, order_id, sku, user_id, idempotency_key, quantity, accepted_at, epoch, state)
        select p_sale_id, m.order_id, m.sku, m.user_id, m.idempotency_key, m.quantity, m.accepted_at, v_sale.epoch,
               case v_sale.status when 'archived' then 'superseded' else 'pending' end
        from moved m)
    select array_agg(m.order_id), array_agg(m.sku), array_agg(m.user_id), array_agg(m.quantity)
    into v_ids, v_skus, v_users, v_quantities from moved m;
    if v_ids is null then return; end if;

    insert into order_event (sale_id, type, order_ids) values (p_sale_id, 'closed', v_ids);

    perform 1 from sale_item t where t.sale_id = p_sale_id and t.sku = any (array(select distinct unnest(v_skus))) order by t.sku for update;
    update sale_item t set sold = t.sold - n.units
    from (select f.sku, sum(f.quantity) as units from unnest(v_skus, v_quantities) as f (sku, quantity) group by f.sku) n
    where t.sale_id = p_sale_id and t.sku = n.sku;

    -- They are all there, since the orders are: never an insert, always by the primary key, and in its order.
    insert into user_quota as q (sale_id, user_id, sku, units, unit_limit)
    select p_sale_id, n.user_id, n.sku, n.units, n.units
    from (select f.user_id, f.sku, sum(f.quantity)::int as units from unnest(v_users, v_skus, v_quantities) as f (user_id, sku, quantity) group by 1, 2
          union all
          select f.user_id, '', sum(f.quantity)::int from unnest(v_users, v_quantities) as f (user_id, quantity)
          where v_sale.per_user_limit is not null group by 1) n
    order by n.user_id, n.sku
    on conflict (sale_id, user_id, sku) do update set units = q.units - excluded.units;

    return query select unnest(v_ids);
end $$;

-- expire_orders: expires orders of a sale whose payment was due before p_due, at most p_limit of them, oldest first.
-- Answers how many. Orders that another transaction is moving are left to it.
create function expire_orders(p_sale_id text, p_number int, p_due timestamptz, p_limit int) returns int
language plpgsql as $$
declare
    v_ids uuid[];
begin
    -- Before any row lock.
    perform pg_advisory_xact_lock_shared(1, p_number);
    select array_agg(d.order_id) into v_ids from (
        select o.order_id from orders o
        where o.sale_id = p_sale_id and o.status = 'pending_payment' and o.pay_by <= p_due
        order by o.pay_by limit p_limit for update skip locked) d;
    if v_ids is null then return 0; end if;
    return (select count(*) from close_orders(p_sale_id, p_number, v_ids, 'pending_payment', 'expired', null, p_due));
end $$;

-- pay_order: a provider says that a payment has succeeded. The first success pays the order; any other is recorded and refunded.
-- Answers 'paid', 'repeated' (this payment had paid it), 'refunded' (recorded, the refund is due), or 'unknown' (no such order: nothing kept).
-- Invariant: payment, order, refund and event move in one transaction; a closed order is never revived.
create function pay_order(p_order_id uuid, p_payment_id text, p_amount bigint, p_currency text) returns text
language plpgsql as $$
declare
    v_sale_id  text;
    v_state    text;
    v_rows     int;
begin
    select o.sale_id into v_sale_id from orders o where o.order_id = p_order_id for update;
    if not found then return 'unknown'; end if;
    select p.state into v_state from payment p where p.payment_id = p_payment_id for update;
    if v_state in ('succeeded', 'surplus') then return 'repeated'; end if;

    -- To pay a live unit moves no unit, so the sale's lock is not needed.
    update orders set status = 'paid', paid_at = now() where order_id = p_order_id and status = 'pending_payment';
    get diagnostics v_rows = row_count;
    insert into payment (payment_id, order_id, amount, currency, state)
    values (p_payment_id, p_order_id, p_amount, p_currency, case v_rows when 1 then 'succeeded' else 'surplus' end)
    on conflict (payment_id) do update set state = excluded.state, updated_at = now();
    if v_rows = 1 then
        insert into order_event (sale_id, type, order_ids) values (v_sale_id, 'paid', array[p_order_id]);
        return 'paid';
    end if;
    insert into refund (payment_id, order_id, reason)
    select p_payment_id, p_order_id, format('the order was %s already', o.status) from orders o where o.order_id = p_order_id
    on conflict do nothing;
    return 'refunded';
end $$;

-- refund_order: an operator gives a paid order back: its units return, and its payment is to be refunded.
-- Answers whether it was paid.
create function refund_order(p_sale_id text, p_number int, p_order_id uuid, p_reason text) returns boolean
language plpgsql as $$
begin
    if not exists (select 1 from close_orders(p_sale_id, p_number, array[p_order_id], 'paid', 'refunded', p_reason, null)) then
        return false;
    end if;
    insert into refund (payment_id, order_id, reason)
    select p.payment_id, p.order_id, p_reason from payment p where p.order_id = p_order_id and p.state = 'succeeded'
    on conflict do nothing;
    return true;
end $$;

-- cancel_order: a shopper gives an unpaid order up.
-- Answers 'cancelled', or 'no' when it does not wait for payment (any more).
-- Raises FS002 when the shopper has cancelled p_limit orders of the sale before.
create function cancel_order(p_sale_id text, p_number int, p_order_id uuid, p_user_id text, p_limit int) returns text
language plpgsql as $$
begin
    if not exists (select 1 from close_orders(p_sale_id, p_number, array[p_order_id], 'pending_payment', 'cancelled', 'cancelled_by_shopper', null)) then
        return 'no';
    end if;
    insert into user_cancellation as c (sale_id, user_id, orders)
    select p_sale_id, p_user_id, 1 where p_limit > 0
    on conflict (sale_id, user_id) do update set orders = c.orders + 1 where c.orders < p_limit;
    if not found then raise sqlstate 'FS002' using message = 'too many cancellations'; end if;
    return 'cancelled';
end $$;
