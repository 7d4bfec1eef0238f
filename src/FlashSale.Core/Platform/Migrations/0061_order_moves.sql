-- How orders that are not paid end, and what a payment or a refund does to them.

-- share_sale_lock: shares a sale's lock until the transaction ends, or fails with 55P03 where a load of the sale has it for
--   longer than a moment. For requests of shoppers and providers: they can be repeated, and must not hold a connection meanwhile.
create function share_sale_lock(p_number int) returns void
language plpgsql set lock_timeout = '300ms' as $$
begin
    perform pg_advisory_xact_lock_shared(1, p_number);
end $$;

-- keep_counts: leaves units of orders that were just closed on their users' counts.
-- Arguments: sale id and the orders, each closed in this very transaction.
-- Invariant: user_quota.units = units of live orders + kept. Never an insert: close_orders has counted the same rows down.
create function keep_counts(p_sale_id text, p_order_ids uuid[]) returns void
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    update user_quota q set units = q.units + n.units, kept = q.kept + n.units
    from (select f.user_id, f.sku, sum(f.quantity)::int as units
          from orders o, lateral (values (o.user_id, o.sku, o.quantity), (o.user_id, '', o.quantity)) as f (user_id, sku, quantity)
          where o.order_id = any (p_order_ids) group by 1, 2) n
    -- The quota of the whole sale (sku '') is there where the sale has a limit of its own.
    where q.sale_id = p_sale_id and q.user_id = n.user_id and q.sku = n.sku;
    update stock_return r set keeps_count = true where r.order_id = any (p_order_ids);
end $$;

-- expire_orders: expires orders of a sale whose payment was due before p_due, at most p_limit of them, oldest first.
-- Arguments: p_last: an order with an open payment waits until the provider has said, after payBy, that it is not paid; one
--   that was due before p_last waits no longer. p_max_expired: so many orders of a sale may expire for a shopper before
--   expired ones stay on the shopper's count (0: any number).
-- Answers how many. Orders that another transaction is moving are left to it.
drop function expire_orders(text, int, timestamptz, int);
create function expire_orders(p_sale_id text, p_number int, p_due timestamptz, p_last timestamptz, p_limit int, p_max_expired int) returns int
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
    v_ids   uuid[];
    v_kept  uuid[];
begin
    -- Before any row lock.
    perform pg_advisory_xact_lock_shared(1, p_number);
    select array_agg(d.order_id) into v_ids from (
        select o.order_id from orders o
        where o.sale_id = p_sale_id and o.status = 'pending_payment' and o.pay_by <= p_due
          and (o.pay_by <= p_last or not exists (
              select 1 from payment p where p.order_id = o.order_id and p.ask_at is not null and (p.answered_at is null or p.answered_at < o.pay_by)))
        order by o.pay_by limit p_limit for update skip locked) d;
    if v_ids is null then return 0; end if;
    select array_agg(c) into v_ids from close_orders(p_sale_id, p_number, v_ids, 'pending_payment', 'expired', null, p_due) c;
    if v_ids is null then return 0; end if;

    if p_max_expired > 0 then
        with counted as (
            insert into user_cancellation as c (sale_id, user_id, expired)
            select p_sale_id, o.user_id, count(*)::int from orders o where o.order_id = any (v_ids) group by o.user_id order by o.user_id
            on conflict (sale_id, user_id) do update set expired = c.expired + excluded.expired
            returning c.user_id, c.expired),
        ranked as (
            select o.order_id, o.user_id, row_number() over (partition by o.user_id order by o.pay_by desc, o.order_id desc) as latest
            from orders o where o.order_id = any (v_ids))
        select array_agg(r.order_id) into v_kept from ranked r join counted c using (user_id) where c.expired - r.latest >= p_max_expired;
        if v_kept is not null then perform keep_counts(p_sale_id, v_kept); end if;
    end if;
    return cardinality(v_ids);
end $$;

-- pay_order: a provider says that a payment has succeeded. The first success pays the order; any other is recorded and refunded.
-- Answers 'paid', 'repeated' (this payment had paid it), 'refunded' (recorded, the refund is due), or 'unknown' (no such order: nothing kept).
-- Invariant: payment, order, refund and event move in one transaction; a closed order is never revived.
create or replace function pay_order(p_order_id uuid, p_payment_id text, p_amount bigint, p_currency text) returns text
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
    on conflict (payment_id) do update set state = excluded.state, ask_at = null, ask_error = null, updated_at = now();
    if v_rows = 1 then
        insert into order_event (sale_id, type, order_ids) values (v_sale_id, 'paid', array[p_order_id]);
        return 'paid';
    end if;
    insert into refund (payment_id, order_id, reason)
    select p_payment_id, p_order_id, format('the order was %s already', o.status) from orders o where o.order_id = p_order_id
    on conflict do nothing;
    return 'refunded';
end $$;

-- pay_free_orders: pays those of the orders that cost nothing, in the transaction that has stored them: nobody would ever be asked for 0.
-- Answers how many.
create function pay_free_orders(p_sale_id text, p_order_ids uuid[]) returns int
language plpgsql set enable_seqscan = off as $$
declare
    v_ids uuid[];
begin
    with paid as (
        update orders o set status = 'paid', paid_at = now()
        where o.order_id = any (p_order_ids) and o.sale_id || '' = p_sale_id and o.status || '' = 'pending_payment' and o.amount = 0
        returning o.order_id)
    select array_agg(p.order_id) into v_ids from paid p;
    if v_ids is null then return 0; end if;
    insert into order_event (sale_id, type, order_ids) values (p_sale_id, 'paid', v_ids);
    return cardinality(v_ids);
end $$;

-- refund_order: a paid order is given back and its payment is to be refunded. Its units return to the sale; or they have
--   left the house (p_return_units false): then they leave the stock instead, which a row of stock_change tells, and stay on the user's count.
-- Answers whether it was paid.
-- Invariant: stock - sold changes only by units that return.
drop function refund_order(text, int, uuid, text);
create function refund_order(
    p_sale_id text, p_number int, p_order_id uuid, p_reason text, p_return_units boolean default true, p_actor text default 'provider', p_role text default 'system')
returns boolean
language plpgsql as $$
begin
    if not exists (select 1 from close_orders(p_sale_id, p_number, array[p_order_id], 'paid', 'refunded', p_reason, null)) then
        return false;
    end if;
    if not p_return_units then
        delete from stock_return r where r.order_id = p_order_id;
        perform keep_counts(p_sale_id, array[p_order_id]);
        with gone as (
            update sale_item t set stock = t.stock - o.quantity from orders o
            where o.order_id = p_order_id and t.sale_id = p_sale_id and t.sku = o.sku
            returning t.sku, o.quantity, t.stock, t.stock - t.sold as remaining)
        insert into stock_change (sale_id, sku, delta, reason, actor, actor_role, idempotency_key, state, stock, remaining)
        select p_sale_id, g.sku, -g.quantity, p_reason, p_actor, p_role, 'refund-' || p_order_id, 'applied', g.stock, g.remaining from gone g;
    end if;
    insert into refund (payment_id, order_id, reason)
    select p.payment_id, p.order_id, p_reason from payment p where p.order_id = p_order_id and p.state = 'succeeded'
    on conflict do nothing;
    return true;
end $$;

-- cancel_order: a shopper gives an unpaid order up.
-- Answers 'cancelled', or 'no' when it does not wait for payment (any more).
-- Raises FS002 when the shopper has cancelled p_limit orders of the sale before, and 55P03 while the sale is being loaded.
create or replace function cancel_order(p_sale_id text, p_number int, p_order_id uuid, p_user_id text, p_limit int) returns text
language plpgsql as $$
begin
    perform share_sale_lock(p_number);
    if not exists (select 1 from close_orders(p_sale_id, p_number, array[p_order_id], 'pending_payment', 'cancelled', 'cancelled_by_shopper', null)) then
        return 'no';
    end if;
    insert into user_cancellation as c (sale_id, user_id, orders)
    select p_sale_id, p_user_id, 1 where p_limit > 0
    on conflict (sale_id, user_id) do update set orders = c.orders + 1 where c.orders < p_limit;
    if not found then raise sqlstate 'FS002' using message = 'too many cancellations'; end if;
    return 'cancelled';
end $$;
