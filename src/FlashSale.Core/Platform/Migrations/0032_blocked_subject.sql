-- The blocklist: who may not buy. Postgres is its truth; Redis carries it to the nodes, as a stream of versions.
-- Invariants: a version is given to one change only, and versions rise in the order in which changes become visible, since
--   whoever takes one holds the lock (7, 0) until the end of the transaction. So all up to a version that was seen is there.

create table blocked_subject (
    kind        text        not null check (kind in ('user', 'ip', 'cidr', 'client')),
    value       text        collate "C" not null check (length(value) between 1 and 128),
    reason      text        not null check (length(reason) between 1 and 500),
    until       timestamptz,                                       -- null = no end
    removed     boolean     not null default false,                -- kept for a day, so that nodes that were away learn of it
    version     bigint      not null unique,
    superseded  bigint,                                            -- the version before: its entry leaves the stream
    created_at  timestamptz not null default now(),
    changed_at  timestamptz not null default now(),
    primary key (kind, value)
);
create index blocked_subject_of_kind on blocked_subject (kind, version);

-- next_block_version: the version of the next change, and the right to make it until the transaction ends.
-- Arguments: none. Answers a version above every other. In microseconds of the clock, so that versions go on rising after
--   Postgres was restored to an earlier point.
create function next_block_version() returns bigint language plpgsql as $$
begin
    -- An import of a million entries holds the lock for longer than others are waited for; statement_timeout bounds it still.
    set local lock_timeout = '15min';
    perform pg_advisory_xact_lock(7, 0);
    return greatest((select coalesce(max(version), 0) from blocked_subject) + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint);
end
$$;
