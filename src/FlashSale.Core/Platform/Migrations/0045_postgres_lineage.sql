-- What tells a Postgres that lost something from one that did not, and versions that never come back.

-- The heartbeat says of which copy of the data it is, and when it was counted (Redis TIME, Unix ms): all that was committed before a beat
-- that a promoted standby holds is on that standby as well.
alter table postgres_beat
    add column lineage      uuid    not null default gen_random_uuid(),   -- another one after every restore that was noticed
    add column at           bigint  not null default 0,                   -- of this beat
    add column previous_at  bigint  not null default 0;                   -- of the one before it

-- raise_sale_version: makes each new version of a sale at least the clock's milliseconds.
-- Arguments: none, a trigger. Answers the row.
-- Invariant: a version that was published and then lost, with a standby's missing tail or by a restore, is never given again.
create function raise_sale_version() returns trigger language plpgsql as $$
begin
    new.version := greatest(new.version, (extract(epoch from clock_timestamp()) * 1000)::bigint);
    return new;
end $$;

create trigger sale_version_only_rises before update on sale
    for each row when (new.version > old.version) execute function raise_sale_version();
