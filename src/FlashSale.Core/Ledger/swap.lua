-- swap: replaces the state of a sale in Redis by the state computed from Postgres, in one step.
-- KEYS  1 sale  2 stock  3 limit  4 inflight  5 inflight_units  6 outbox  7 returned
-- ARGV  1 epoch  2 run id  3 version  4 status  5 opens  6 closes  7 limit (0 = none)  8 buckets
--   9 tickets (1 = a purchase needs one)  10 admission (tickets per second, 0 = no bound)
-- Reads the shadow keys <prefix>shadow:<epoch>:{stock,limit,inflight,inflight_units}. The keys of facts and buyers
--   already carry the epoch in their names.
-- Answers 'done', or the obstacle: 'outbox' (reservations wait in the outbox), 'epoch' (Redis has this epoch or a
--   later one), 'run' (Redis was restarted meanwhile, so the shadow may be incomplete).
-- Invariant: the script never replaces the state while the outbox has entries, and the epoch only goes up.
if not string.find(redis.call('INFO', 'server'), 'run_id:' .. ARGV[2], 1, true) then return 'run' end
if redis.call('XLEN', KEYS[6]) > 0 then return 'outbox' end
if tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0) >= tonumber(ARGV[1]) then return 'epoch' end
local shadow = string.sub(KEYS[1], 1, -5) .. 'shadow:' .. ARGV[1] .. ':'
-- Note the items that had nothing left and have units now. A node may say "sold out" for a moment longer (reserve.lua).
local clock = redis.call('TIME')
local now = string.format('%d', clock[1] * 1000 + math.floor(clock[2] / 1000))
local before = redis.call('HGETALL', KEYS[2])
for i = 1, #before, 2 do
    if tonumber(before[i + 1]) <= 0 and tonumber(redis.call('HGET', shadow .. 'stock', before[i]) or 0) > 0 then
        redis.call('HSET', string.sub(KEYS[1], 1, -5) .. 'back', before[i], now)
        redis.call('HSET', KEYS[1], 'back', now)
    end
end
local left = 0
local after = redis.call('HGETALL', shadow .. 'stock')
for i = 2, #after, 2 do
    if tonumber(after[i]) > 0 then left = left + 1 end
end
for i, name in ipairs({ 'stock', 'limit', 'inflight', 'inflight_units' }) do
    if redis.call('EXISTS', shadow .. name) == 1 then
        redis.call('RENAME', shadow .. name, KEYS[i + 1])
    else
        redis.call('UNLINK', KEYS[i + 1])
    end
end
-- The new stock includes everything applied under an earlier epoch. The scripts refuse that epoch from now on.
redis.call('UNLINK', KEYS[7])
redis.call('UNLINK', string.sub(KEYS[1], 1, -5) .. 'owed', string.sub(KEYS[1], 1, -5) .. 'stocked')
-- Remove the verification. The sale sells again once the loader knows that its transaction, and so its lock, held up to
-- this point.
redis.call('HDEL', KEYS[1], 'held', 'run')
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'version', ARGV[3], 'status', ARGV[4],
    'opens', ARGV[5], 'closes', ARGV[6], 'limit', ARGV[7], 'buckets', ARGV[8], 'tickets', ARGV[9], 'admission', ARGV[10], 'left', left)
return 'done'
