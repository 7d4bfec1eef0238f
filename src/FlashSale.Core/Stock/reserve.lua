-- reserve: decides the purchases of one call, one by one and in order, and makes the accepted ones durable in one step.
-- KEYS  1 sale  2 stock  3 limit  4 inflight  5 inflight_units  6 outbox          (layout: Sales/SaleKeys.cs)
-- ARGV  1 request id (8 bytes, echoed)  2 epoch  3 not-after (Redis TIME, Unix ms)  4.. purchases (Contracts/Reservation.cs)
-- Answers one string: request id | time (6 bytes, ms: of the acceptances, else now) | per purchase a code:
--   A accepted   Z accepted, and it took the last unit   R replay, followed by order id (16) and acceptedAt (6)
--   K key reused for another purchase   N not loaded, or being loaded   V not verified since Redis started   E other epoch   D past not-after
--   P paused   O not open yet   C closed   U purchase limit   S sold out   F fewer left than asked for
-- Invariants: remaining never below 0, no user above a limit, one order per key, and each acceptance is in the outbox.
--   Lua has no rollback: everything is read and checked first, then XADD, the only write that can be refused (OOM).
local sub, byte, floor = string.sub, string.byte, math.floor
local sale = redis.call('HMGET', KEYS[1], 'epoch', 'status', 'opens', 'closes', 'limit', 'buckets', 'run', 'held')
local clock = redis.call('TIME')
local now = clock[1] * 1000 + floor(clock[2] / 1000)
local prefix = sub(KEYS[1], 1, -5)                         -- without 'sale'

-- Why nobody may buy now, or 'A'. The run id ties selling to the process that the worker has verified: a Redis that
-- came back, with whatever it still knows, has another one.
local function door()
    if not sale[1] or sale[8] then return 'N' end
    if not sale[7] or not string.find(redis.call('INFO', 'server'), 'run_id:' .. sale[7], 1, true) then return 'V' end
    if sale[1] ~= ARGV[2] then return 'E' end
    if now > tonumber(ARGV[3]) then return 'D' end
    if sale[2] == 'paused' then return 'P' end
    if now < tonumber(sale[3]) then return 'O' end
    if sale[2] ~= 'live' or now >= tonumber(sale[4]) then return 'C' end
    return 'A'
end

local state
local sale_limit = tonumber(sale[5] or 0)
local buckets = tonumber(sale[6] or 1)
local stock, limit, units, seen = {}, {}, {}, {}           -- what this call has read and changed
local codes, accepted, records, repeated = {}, {}, {}, {}

local function judge(i, p)
    local key, user, item = sub(p, 17, 32), sub(p, 33, 40), sub(p, 41, 44)
    local quantity = byte(p, 45) * 256 + byte(p, 46)
    local sku = sub(p, 59, 58 + byte(p, 58))
    local user_item = user .. item
    local facts = prefix .. 'facts:' .. (sale[1] or '0') .. ':' .. (struct.unpack('>I4', user) % buckets)
    local known = redis.call('HMGET', facts, key, user, user_item)

    if seen[key] then
        if sub(seen[key], 41, 46) ~= sub(p, 41, 46) then return 'K' end
        repeated[i] = sub(seen[key], 1, 16)
        return 'R'
    end
    if known[1] then
        if sub(known[1], 23, 28) ~= sub(p, 41, 46) then return 'K' end
        return 'R' .. sub(known[1], 1, 22)
    end

    state = state or door()
    if state ~= 'A' then return state end

    if not stock[sku] then
        stock[sku] = tonumber(redis.call('HGET', KEYS[2], sku))
        limit[sku] = tonumber(redis.call('HGET', KEYS[3], sku))
        if not stock[sku] or not limit[sku] then return 'N' end
    end
    local in_sale = units[user] or tonumber(known[2] or 0)
    local of_item = units[user_item] or tonumber(known[3] or 0)
    if of_item + quantity > limit[sku] or (sale_limit > 0 and in_sale + quantity > sale_limit) then return 'U' end
    if stock[sku] <= 0 then return 'S' end
    if stock[sku] < quantity then return 'F' end

    stock[sku] = stock[sku] - quantity
    units[user], units[user_item] = in_sale + quantity, of_item + quantity
    seen[key] = p
    records[#records + 1] = p
    accepted[#accepted + 1] = { p = p, key = key, user = user, user_item = user_item, facts = facts, sku = sku, quantity = quantity }
    return stock[sku] == 0 and 'Z' or 'A'
end

for i = 4, #ARGV do codes[i - 3] = judge(i - 3, ARGV[i]) end

if #accepted > 0 then
    local buyers = prefix .. 'buyers:' .. sale[1]
    -- Keys of another type raise here, before anything is written.
    redis.call('HLEN', KEYS[4])
    redis.call('STRLEN', buyers)
    local in_flight, remaining, log = {}, {}, {}
    for _, a in ipairs(accepted) do
        in_flight[a.sku] = (in_flight[a.sku] or tonumber(redis.call('HGET', KEYS[5], a.sku) or 0)) + a.quantity
    end

    local entry = redis.call('XADD', KEYS[6], '*', 'r', '\1' .. table.concat(records))
    now = tonumber(string.match(entry, '^%d+'))
    local at = struct.pack('>I6', now)

    local inflight = {}
    for n, a in ipairs(accepted) do
        inflight[n * 2 - 1], inflight[n * 2] = sub(a.p, 1, 16), at .. a.p
        log[n] = a.user
        redis.call('HSET', a.facts, a.key, sub(a.p, 1, 16) .. at .. sub(a.p, 41, 46),
            a.user, units[a.user], a.user_item, units[a.user_item])
    end
    redis.call('HSET', KEYS[4], unpack(inflight))
    for sku, total in pairs(in_flight) do
        redis.call('HSET', KEYS[2], sku, stock[sku])
        redis.call('HSET', KEYS[5], sku, total)
    end
    redis.call('APPEND', buyers, table.concat(log))
end

for i, id in pairs(repeated) do codes[i] = 'R' .. id .. struct.pack('>I6', now) end
return ARGV[1] .. struct.pack('>I6', now) .. table.concat(codes)
