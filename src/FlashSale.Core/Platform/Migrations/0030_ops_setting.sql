-- What operators set while the product runs: documents by name, such as the limits. Each change is the next version; a
-- database restored to an earlier point goes on above the versions it gave before, since nodes take only higher ones.
create table ops_setting (
    name        text        primary key,
    version     bigint      not null,
    document    jsonb       not null,
    changed_at  timestamptz not null default now()
);
