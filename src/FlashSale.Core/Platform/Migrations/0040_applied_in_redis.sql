-- How many returns and changes of stock Redis is known to have applied under the sale's epoch: a Redis that was started
-- anew and knows fewer has lost something. A counter, since counting the rows takes longer with each return ever made.
-- Never too high: an increase that a rebuild has put into Redis is no change that Redis has applied.
alter table sale add column redis_applied bigint not null default 0;

update sale s set redis_applied = n.applied
from (select sale_id, epoch, count(*) as applied from stock_return where state = 'applied' group by sale_id, epoch) n
where n.sale_id = s.sale_id and n.epoch = s.epoch;
