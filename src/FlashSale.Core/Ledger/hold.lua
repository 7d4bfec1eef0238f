-- hold: stops the selling of a loaded sale whose rebuild begins, whatever its status is or becomes. Only the swap ends it.
-- KEYS[1] fs:{sale}:sale
-- ARGV    the epoch that the rebuild will have
-- Answers 1, or 0 when the sale is not loaded, or was loaded under that epoch or a later one.
-- Invariant: a hold that arrives late holds nothing; a sale that is not loaded is not created.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch or tonumber(epoch) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'held', '1')
return 1
