-- units: gives units and counts back. The beginning of settle.lua, release.lua and change_stock.lua; KEYS[1] sale,
--   KEYS[2] stock.
-- Invariants: remaining never goes below 0. Units that could not be taken from it are owed (hash owed, sku -> units).
--   The next units of that item that would go back pay them, from any source. So a loss of Redis' memory costs nobody a
--   unit in the end.
--   An item that had nothing left and has units again is noted (hash back, sku -> Redis TIME, ms; field back of the
--   sale: the latest of them). reserve.lua sells such an item only when no node can still say "sold out" from an older
--   answer. Field left of the sale counts the items that have units.
local prefix = string.sub(KEYS[1], 1, -5)

-- Pays owed units out of the units that come back. Returns the units that are left to go back.
local function pay(sku, quantity)
    local owed = tonumber(redis.call('HGET', prefix .. 'owed', sku) or 0)
    local paid = math.max(0, math.min(owed, quantity))
    if paid > 0 then redis.call('HINCRBY', prefix .. 'owed', sku, -paid) end
    return quantity - paid
end

-- Notes that an item has units again after it had none.
local function came_back(sku)
    local clock = redis.call('TIME')
    local now = string.format('%d', clock[1] * 1000 + math.floor(clock[2] / 1000))
    redis.call('HSET', prefix .. 'back', sku, now)
    redis.call('HSET', KEYS[1], 'back', now)
    redis.call('HINCRBY', KEYS[1], 'left', 1)
end

-- Notes that an item has no units any more.
local function ran_out() redis.call('HINCRBY', KEYS[1], 'left', -1) end

-- Gives units back to the sale, after paying the owed ones.
local function put_back(sku, quantity)
    local units = pay(sku, quantity)
    if units > 0 and redis.call('HINCRBY', KEYS[2], sku, units) == units then came_back(sku) end
end

-- Takes units off a user's count.
local function give_back(facts, field, quantity)
    local left = tonumber(redis.call('HGET', facts, field) or 0) - quantity
    if left > 0 then redis.call('HSET', facts, field, left) else redis.call('HDEL', facts, field) end
end

-- Whether this is the Redis process that a worker has verified. A restarted Redis has another run id.
local function verified(run)
    return run and string.find(redis.call('INFO', 'server'), 'run_id:' .. run, 1, true) ~= nil
end

