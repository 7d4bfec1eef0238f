-- hold: stops the selling of a loaded sale at the start of its rebuild, in every present or later status. Only the
--   swap ends the hold.
-- KEYS[1] fs:{sale}:sale
-- ARGV    the epoch that the rebuild will have
-- Answers 1, or 0 when the sale is not loaded, or was loaded under that epoch or a later one.
-- Invariant: a hold that arrives late has no effect. The script does not create a sale that is not loaded.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch or tonumber(epoch) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'held', '1')
return 1
