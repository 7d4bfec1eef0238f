-- What a list of the audit log shows of a large document. Made when the entry is written: a list would otherwise read and send all of
-- every document on its page, tens of megabytes where drafts of a thousand items are changed.

-- audit_extract: a JSON document in at most about 4 KB.
-- Arguments: the document. Answers null where it is that short itself, or null; else the members that are short, of the others how
--   long they are.
create function audit_extract(p_document jsonb) returns jsonb language sql immutable as $$
    select case
        when p_document is null or octet_length(p_document::text) <= 4096 then null
        when jsonb_typeof(p_document) = 'object' then (
            select jsonb_object_agg(left(m.key, 64), case
                when octet_length(m.value::text) <= 160 then m.value
                else to_jsonb(format('(%s bytes)', octet_length(m.value::text))) end)
            from (select e.key, e.value from jsonb_each(p_document) e order by e.key limit 16) m)
        else to_jsonb(format('(%s bytes)', octet_length(p_document::text))) end
$$;

alter table audit_log
    add column before_extract jsonb generated always as (audit_extract(before)) stored,
    add column after_extract  jsonb generated always as (audit_extract(after)) stored;
