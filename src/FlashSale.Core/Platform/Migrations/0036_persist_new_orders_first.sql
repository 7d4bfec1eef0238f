-- What a pack costs Postgres is paid out of the same cores as the purchases that are still coming in.

-- Ids are random: to compress a list of them takes time and saves nothing.
alter table order_event alter column order_ids set storage external;

-- The tables that a sale fills are vacuumed and analyzed at a tenth of the usual pace: else a worker of autovacuum takes up to a third of what
-- storing the orders takes, at the moment when it is wanted least.
alter table orders set (autovacuum_vacuum_cost_delay = 20, autovacuum_analyze_scale_factor = 0.5);
alter table user_quota set (autovacuum_vacuum_cost_delay = 20, autovacuum_analyze_scale_factor = 0.5);
alter table order_event set (autovacuum_vacuum_cost_delay = 20, autovacuum_analyze_scale_factor = 0.5);

-- persist_reservations: stores accepted reservations of one sale and judges those that are new.
-- Arguments: sale id, its number, and one array element per reservation, in the order of their acceptance.
-- Answers no row when all of them were new and are pending_payment now, which is nearly always; else a row per reservation: its position
--   (from 1), the stored status and reason, and whether the stored row is this very purchase (false: same id, but another user, key or sale;
--   nothing was stored, it goes to the dead letters).
-- Invariant: sold and user_quota change by exactly the rows that become pending_payment here; rows that were there
--   before change nothing. sold never passes stock, units never pass a limit: what would is stored as rejected.
-- Locks, in this order: the sale's advisory lock (shared; a rebuild takes it exclusively), orders by id, items by sku,
--   quotas by (user, sku).
-- What became of the new ones goes into order_event, in the same transaction.
-- Raises 23503 for an unknown sale or sku and 22xxx or 23514 for values that no row may hold: the caller bisects on those.
create or replace function persist_reservations(
    p_sale_id text, p_number int, p_order_ids uuid[], p_skus text[], p_users text[], p_keys text[],
    p_quantities int[], p_amounts bigint[], p_currencies text[], p_accepted timestamptz[])
returns table (pos int, status text, reason text, same boolean)
language plpgsql
-- Planned once for all calls of a session; a plan made while orders was small must not scan it when it is large.
set plan_cache_mode = auto set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
#variable_conflict use_column
declare
    v_sale        sale%rowtype;
    v_item        sale_item%rowtype;
    v_limit       int;
    v_limits      int[];              -- of the items, by sku
    v_order_ids   uuid[] := p_order_ids;
    v_skus        text[] := p_skus;
    v_users       text[] := p_users;
    v_keys        text[] := p_keys;
    v_quantities  int[] := p_quantities;
    v_amounts     bigint[] := p_amounts;
    v_currencies  text[] := p_currencies;
    v_accepted    timestamptz[] := p_accepted;
    v_placed      uuid[];
    v_rejected    uuid[];
    v_refused     int;
    v_units       int;
    v_sale_units  int;
    v_reason      text;
    v_winner      uuid;
    r             record;
begin
    perform pg_advisory_xact_lock_shared(1, p_number);
    select * into v_sale from sale s where s.sale_id = p_sale_id and s.number = p_number;
    if not found then
        raise foreign_key_violation using message = format('sale %s with number %s does not exist', p_sale_id, p_number);
    end if;

    -- As a whole: in an undisturbed sale Redis has refused all that must be refused. First as if all were new, without a look at what is
    -- there, then those that are; an id that comes in between, or twice, is left to the last way.
    for v_attempt in 1..2 loop
        begin
            if v_attempt = 2 then
                select array_agg(i.order_id), array_agg(i.sku), array_agg(i.user_id), array_agg(i.key), array_agg(i.quantity), array_agg(i.amount),
                       array_agg(i.currency), array_agg(i.accepted)
                into v_order_ids, v_skus, v_users, v_keys, v_quantities, v_amounts, v_currencies, v_accepted
                from unnest(p_order_ids, p_skus, p_users, p_keys, p_quantities, p_amounts, p_currencies, p_accepted)
                     as i (order_id, sku, user_id, key, quantity, amount, currency, accepted)
                where not exists (select 1 from orders o where o.order_id = i.order_id);
            end if;

            if v_order_ids is not null then
                insert into orders (order_id, sale_id, sku, user_id, quantity, amount, currency, status, idempotency_key, accepted_at, pay_by)
                select i.order_id, p_sale_id, i.sku, i.user_id, i.quantity, i.amount, i.currency, 'pending_payment', i.key, i.accepted,
                       now() + make_interval(secs => v_sale.pay_within_seconds)
                from unnest(v_order_ids, v_skus, v_users, v_keys, v_quantities, v_amounts, v_currencies, v_accepted)
                     as i (order_id, sku, user_id, key, quantity, amount, currency, accepted)
                order by i.order_id;

                insert into order_event (sale_id, type, order_ids) values (p_sale_id, 'placed', v_order_ids);

                -- Item by item: what a pack costs follows from what is in it, and never from how many items the planner believes the sale to have.
                v_limits := '{}';
                for r in select f.sku, sum(f.quantity)::int as units from unnest(v_skus, v_quantities) as f (sku, quantity) group by f.sku order by f.sku
                loop
                    update sale_item t set sold = t.sold + r.units
                    where t.sale_id = p_sale_id and t.sku = r.sku and t.sold + r.units <= t.stock
                    returning t.per_user_limit into v_limit;
                    if not found then raise sqlstate 'FS001'; end if;
                    v_limits := v_limits || v_limit;
                end loop;

                with wanted as (
                    select f.user_id, f.sku, sum(f.quantity) as units, dense_rank() over (order by f.sku) as item
                    from unnest(v_users, v_skus, v_quantities) as f (user_id, sku, quantity) group by f.user_id, f.sku),
                counted as (
                    insert into user_quota as q (sale_id, user_id, sku, units, unit_limit)
                    select p_sale_id, w.user_id, w.sku, w.units, v_limits[w.item] from wanted w
                    where w.units <= v_limits[w.item]
                    order by w.user_id, w.sku
                    on conflict (sale_id, user_id, sku) do update set units = q.units + excluded.units
                        where q.units + excluded.units <= q.unit_limit
                    returning 1)
                select (select count(*) from wanted) - (select count(*) from counted) into v_refused;
                if v_refused > 0 then raise sqlstate 'FS001'; end if;

                if v_sale.per_user_limit is not null then
                    with wanted as (
                        select f.user_id, sum(f.quantity) as units from unnest(v_users, v_quantities) as f (user_id, quantity) group by f.user_id),
                    counted as (
                        insert into user_quota as q (sale_id, user_id, sku, units, unit_limit)
                        select p_sale_id, w.user_id, '', w.units, v_sale.per_user_limit from wanted w
                        where w.units <= v_sale.per_user_limit
                        order by w.user_id
                        on conflict (sale_id, user_id, sku) do update set units = q.units + excluded.units
                            where q.units + excluded.units <= q.unit_limit
                        returning 1)
                    select (select count(*) from wanted) - (select count(*) from counted) into v_refused;
                    if v_refused > 0 then raise sqlstate 'FS001'; end if;
                end if;
            end if;

            if v_attempt = 1 then return; end if;
            return query
            select i.pos::int, o.status, o.reason, o.user_id = i.user_id and o.idempotency_key = i.key and o.sale_id = p_sale_id
            from unnest(p_order_ids, p_users, p_keys) with ordinality as i (order_id, user_id, key, pos)
                 join orders o on o.order_id = i.order_id;
            return;
        exception
            when unique_violation then null;   -- undone as a whole
            when sqlstate 'FS001' then exit;
        end;
    end loop;

    -- One by one: Redis had forgotten something, so some of these must be refused.
    perform 1 from sale_item t where t.sale_id = p_sale_id and t.sku = any (p_skus) order by t.sku for update;
    for r in
        select * from unnest(p_order_ids, p_skus, p_users, p_keys, p_quantities, p_amounts, p_currencies, p_accepted)
                 with ordinality as i (order_id, sku, user_id, key, quantity, amount, currency, accepted, pos)
        order by i.pos
    loop
        select * into v_item from sale_item t where t.sale_id = p_sale_id and t.sku = r.sku;
        if not found then
            raise foreign_key_violation using message = format('sale %s has no item %s', p_sale_id, r.sku);
        end if;

        insert into orders (order_id, sale_id, sku, user_id, quantity, amount, currency, status, idempotency_key, accepted_at, pay_by)
        values (r.order_id, p_sale_id, r.sku, r.user_id, r.quantity, r.amount, r.currency, 'pending_payment', r.key, r.accepted,
                now() + make_interval(secs => v_sale.pay_within_seconds))
        on conflict do nothing;

        if found then
            insert into user_quota (sale_id, user_id, sku, units, unit_limit)
            values (p_sale_id, r.user_id, r.sku, 0, v_item.per_user_limit) on conflict do nothing;
            select q.units into v_units from user_quota q
            where q.sale_id = p_sale_id and q.user_id = r.user_id and q.sku = r.sku for update;
            v_sale_units := 0;
            if v_sale.per_user_limit is not null then
                insert into user_quota (sale_id, user_id, sku, units, unit_limit)
                values (p_sale_id, r.user_id, '', 0, v_sale.per_user_limit) on conflict do nothing;
                select q.units into v_sale_units from user_quota q
                where q.sale_id = p_sale_id and q.user_id = r.user_id and q.sku = '' for update;
            end if;

            v_reason := case
                when v_units + r.quantity > v_item.per_user_limit
                  or v_sale_units + r.quantity > v_sale.per_user_limit then 'purchase_limit_reached'
                when v_item.sold + r.quantity > v_item.stock then 'sold_out'
            end;
            if v_reason is null then
                update user_quota q set units = q.units + r.quantity
                where q.sale_id = p_sale_id and q.user_id = r.user_id and q.sku in (r.sku, '');
                update sale_item t set sold = t.sold + r.quantity where t.sale_id = p_sale_id and t.sku = r.sku;
                v_placed := array_append(v_placed, r.order_id);
            else
                v_rejected := array_append(v_rejected, r.order_id);
                update orders o set status = 'rejected', reason = v_reason, pay_by = null, closed_at = now()
                where o.order_id = r.order_id;
            end if;
        elsif not exists (select 1 from orders o where o.order_id = r.order_id) then
            select o.order_id into v_winner from orders o
            where o.user_id = r.user_id and o.sale_id = p_sale_id and o.idempotency_key = r.key and o.status <> 'rejected';
            if not found then
                raise serialization_failure using message = 'the order that held the idempotency key is gone; run again';
            end if;
            insert into orders (order_id, sale_id, sku, user_id, quantity, amount, currency, status, reason, duplicate_of,
                                idempotency_key, accepted_at, closed_at)
            values (r.order_id, p_sale_id, r.sku, r.user_id, r.quantity, r.amount, r.currency, 'rejected', 'duplicate', v_winner,
                    r.key, r.accepted, now())
            on conflict (order_id) do nothing;
            if found then v_rejected := array_append(v_rejected, r.order_id); end if;
        end if;
    end loop;
    if v_placed is not null then insert into order_event (sale_id, type, order_ids) values (p_sale_id, 'placed', v_placed); end if;
    if v_rejected is not null then insert into order_event (sale_id, type, order_ids) values (p_sale_id, 'closed', v_rejected); end if;

    return query
    select i.pos::int, o.status, o.reason, o.user_id = i.user_id and o.idempotency_key = i.key and o.sale_id = p_sale_id
    from unnest(p_order_ids, p_users, p_keys) with ordinality as i (order_id, user_id, key, pos)
         join orders o on o.order_id = i.order_id;
end $$;
