-- What a change of stock must remember, and how a sale looks in the audit log.

-- A draft's items may be replaced; the record of what was changed, and its idempotency key, stays.
alter table stock_change
    drop constraint stock_change_sale_id_sku_fkey,
    add constraint stock_change_sale_id_fkey foreign key (sale_id) references sale (sale_id),
    add column actor_role text not null default 'manager',
    -- Of an increase: the epoch of the moment when Postgres took it. A rebuild after that has put it into Redis already.
    add column epoch bigint;

-- sale_snapshot: a sale as the audit log keeps it.
-- Arguments: sale id. Answers one JSON object, null for an unknown sale. The items are part of it up to 1,000 of them:
--   an audit row stays readable, and a sale of 100,000 items does not copy itself into the log with every change.
create function sale_snapshot(p_sale_id text) returns jsonb language sql stable as $$
    select jsonb_build_object(
        'name', s.name, 'status', s.status,
        'opensAt', to_char(s.opens_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'closesAt', to_char(s.closes_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'perUserLimit', s.per_user_limit, 'payWithinSeconds', s.pay_within_seconds,
        'itemCount', i.items, 'units', i.units,
        'items', case when i.items <= 1000 then coalesce((
            select jsonb_agg(jsonb_build_object('sku', t.sku, 'name', t.name, 'price', t.price, 'listPrice', t.list_price,
                             'currency', t.currency, 'stock', t.stock, 'perUserLimit', t.per_user_limit) order by t.item_no)
            from sale_item t where t.sale_id = s.sale_id), '[]') end)
    from sale s, lateral (select count(*) as items, coalesce(sum(t.stock), 0) as units from sale_item t where t.sale_id = s.sale_id) i
    where s.sale_id = p_sale_id
$$;
