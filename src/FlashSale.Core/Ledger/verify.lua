-- verify: lets a sale sell again in a Redis process that has lost nothing.
-- KEYS[1] fs:{sale}:sale
-- ARGV    run id, epoch
-- Answers 1, or 0 when Redis was restarted or the sale was loaded again meanwhile.
-- Invariant: the script verifies only the process that the worker looked at.
if not string.find(redis.call('INFO', 'server'), 'run_id:' .. ARGV[1], 1, true) then return 0 end
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'run', ARGV[1])
return 1
