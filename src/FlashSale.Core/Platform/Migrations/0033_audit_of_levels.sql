-- The last level of a node is looked up whenever it changes; the log itself only grows.
create index audit_log_levels on audit_log (subject, audit_id) where action = 'degradation.level';
