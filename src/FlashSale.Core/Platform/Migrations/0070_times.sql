-- Times that are given lie between 1970 and 9999. An infinite one could be stored, and no list that came across it could be read.
-- Invariant: sale_within_told_years    with opens_at < closes_at both ends of a window lie within.

update sale set opens_at = least(greatest(opens_at, '1970-01-01 00:00:00+00'), '9999-12-31 23:59:58+00'),
                closes_at = least(greatest(closes_at, '1970-01-01 00:00:01+00'), '9999-12-31 23:59:59+00'), version = version + 1
where opens_at < '1970-01-01 00:00:00+00' or closes_at >= '10000-01-01 00:00:00+00';
alter table sale add constraint sale_within_told_years
    check (opens_at >= '1970-01-01 00:00:00+00' and closes_at < '10000-01-01 00:00:00+00');

update blocked_subject set until = null where until >= '10000-01-01 00:00:00+00';
alter table blocked_subject add constraint blocked_subject_within_told_years
    check (until >= '1970-01-01 00:00:00+00' and until < '10000-01-01 00:00:00+00');
