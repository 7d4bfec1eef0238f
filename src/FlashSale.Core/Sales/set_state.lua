-- set_state: brings a loaded sale's state in Redis up to what Postgres says.
-- KEYS[1] fs:{sale}:sale
-- ARGV    epoch, version, status (live|paused|closed), opens, closes (Unix ms)
-- Answers 1 when applied, 0 when the same or a higher version is there, -1 when the sale is not loaded under that epoch.
-- Invariant: the state's version never goes back; another epoch's state is never touched.
local sale = redis.call('HMGET', KEYS[1], 'epoch', 'version')
if sale[1] ~= ARGV[1] then return -1 end
if tonumber(sale[2]) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'status', ARGV[3], 'opens', ARGV[4], 'closes', ARGV[5])
return 1
