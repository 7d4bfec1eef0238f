-- set_state: brings the state of a loaded sale in Redis up to the version of Postgres.
-- KEYS[1] fs:{sale}:sale
-- ARGV    epoch, version, status (live|paused|closed), opens, closes (Unix ms)
-- Answers 0 when Redis has that version now, -1 when the sale is not loaded under that epoch, else the higher version
--   that Redis has and keeps.
-- Invariant: the version of the state never goes back. The state of another epoch is never touched.
local sale = redis.call('HMGET', KEYS[1], 'epoch', 'version')
if sale[1] ~= ARGV[1] then return -1 end
local there, version = tonumber(sale[2]), tonumber(ARGV[2])
if there > version then return there end
if there == version then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'status', ARGV[3], 'opens', ARGV[4], 'closes', ARGV[5])
return 0
