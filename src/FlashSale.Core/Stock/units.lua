-- units: how units and counts go back. The beginning of settle.lua, release.lua and change_stock.lua; KEYS[1] sale, KEYS[2] stock.
-- Invariant: remaining is never taken below 0. What could not be taken from it is owed (hash owed, sku -> units; below 0: taken in
-- advance), and paid with the next units that would go back.
local prefix = string.sub(KEYS[1], 1, -5)

-- Takes units that are owed from those that come back; answers what is left to go back.
local function pay(sku, quantity)
    local owed = tonumber(redis.call('HGET', prefix .. 'owed', sku) or 0)
    local paid = math.max(0, math.min(owed, quantity))
    if paid > 0 then redis.call('HINCRBY', prefix .. 'owed', sku, -paid) end
    return quantity - paid
end

-- Takes units off a user's count.
local function give_back(facts, field, quantity)
    local left = tonumber(redis.call('HGET', facts, field) or 0) - quantity
    if left > 0 then redis.call('HSET', facts, field, left) else redis.call('HDEL', facts, field) end
end

-- Whether this is the process that the worker has verified: a Redis that came back has another run id.
local function verified(run)
    return run and string.find(redis.call('INFO', 'server'), 'run_id:' .. run, 1, true) ~= nil
end

