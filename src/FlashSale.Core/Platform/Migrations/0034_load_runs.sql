-- Load runs: sales to which nobody really comes. They go the whole way of a sale, and stay out of lists, of figures over all sales and of order events.
alter table sale add column load_run boolean not null default false;

-- sale_snapshot: a sale as the audit log keeps it, as before, and whether it is a load run.
-- Arguments: sale id. Answers one JSON object, null for an unknown sale.
create or replace function sale_snapshot(p_sale_id text) returns jsonb language sql stable as $$
    select jsonb_build_object(
        'name', s.name, 'status', s.status,
        'opensAt', to_char(s.opens_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'closesAt', to_char(s.closes_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'perUserLimit', s.per_user_limit, 'payWithinSeconds', s.pay_within_seconds,
        'requiresTicket', s.requires_ticket, 'admissionPerSecond', s.admission_per_second, 'loadRun', s.load_run,
        'itemCount', i.items, 'units', i.units,
        'items', case when i.items <= 1000 then coalesce((
            select jsonb_agg(jsonb_build_object('sku', t.sku, 'name', t.name, 'price', t.price, 'listPrice', t.list_price,
                             'currency', t.currency, 'stock', t.stock, 'perUserLimit', t.per_user_limit) order by t.item_no)
            from sale_item t where t.sale_id = s.sale_id), '[]') end)
    from sale s, lateral (select count(*) as items, coalesce(sum(t.stock), 0) as units from sale_item t where t.sale_id = s.sale_id) i
    where s.sale_id = p_sale_id
$$;
