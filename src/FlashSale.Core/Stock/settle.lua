-- settle: applies the decisions of Postgres about reservations to Redis, and takes them out of flight.
-- KEYS  1 sale  2 stock  3 inflight  4 inflight_units  5 outbox
-- ARGV  1 channel of settled orders  2 number n of outbox entries  3..n+2 their ids  then one string per order, either
--   the id (16) of a live order: its in-flight record has the rest, and nearly all orders have one;  or in full:
--   verdict (L live | S rejected for stock | R rejected for a limit or as a duplicate) | acceptedAt (6) |
--   record (Contracts/Reservation.cs)
-- Answers {number of orders that Redis had forgotten, positions from 1 of the ids that are not in flight}; nil when the
--   sale is not loaded. With such positions the entries stay: the caller then settles those orders in full, and the
--   entries with them.
-- Invariant: each order takes effect once, however often it is settled. If it is in flight, its units stay taken (L)
--   or go back (S, R), and the user's counts with them. If it is neither in flight nor known by its idempotency record,
--   Redis had forgotten it: the script debits and records a live order, and only records a rejected one. Units that
--   remaining could not give are owed (units.lua).
--   S: Redis had forgotten an order and offered its units again, although Postgres had sold them. Only the settlement
--   of the forgotten order tells the number of those units, and that order may be cancelled by then. So S gives all its
--   units back. Postgres refuses further buyers of them until the forgotten order is settled.
local sub, byte = string.sub, string.byte
local sale = redis.call('HMGET', KEYS[1], 'epoch', 'buckets', 'limit')
if not sale[1] then return nil end
local is_limited = tonumber(sale[3] or 0) > 0
local entries = tonumber(ARGV[2])
local forgotten, announce, units = 0, {}, {}

-- The log of buyers ends at this many bytes. Redis refuses a text beyond 512 MB, and nothing may be refused after a
-- first write.
local function log_buyers(users)
    local buyers = prefix .. 'buyers:' .. sale[1]
    if redis.call('STRLEN', buyers) < 503316480 then redis.call('APPEND', buyers, users) end
end

local function units_of(record) return sub(record, 59, 58 + byte(record, 58)), byte(record, 45) * 256 + byte(record, 46) end
local function count(sku, quantity) units[sku] = (units[sku] or 0) + quantity end

-- Takes units for an order that Redis had forgotten.
local function take(sku, quantity)
    local remaining = tonumber(redis.call('HGET', KEYS[2], sku) or 0)
    local taken = math.min(remaining, quantity)
    redis.call('HSET', KEYS[2], sku, remaining - taken)
    if taken > 0 and taken == remaining then ran_out() end
    if taken < quantity then redis.call('HINCRBY', prefix .. 'owed', sku, quantity - taken) end
end

local full, live = {}, {}
for i = entries + 3, #ARGV do
    if #ARGV[i] == 16 then live[#live + 1] = ARGV[i] else full[#full + 1] = ARGV[i] end
end

local answer = { 0 }
if #live > 0 then
    local records, seen = redis.call('HMGET', KEYS[3], unpack(live)), {}
    for i, id in ipairs(live) do
        if not records[i] then
            answer[#answer + 1] = i
        elseif not seen[id] then
            seen[id] = true
            count(units_of(sub(records[i], 7)))
            announce[#announce + 1] = id .. 'L'
        end
    end
    redis.call('HDEL', KEYS[3], unpack(live))
end

for _, a in ipairs(full) do
    local verdict, p = sub(a, 1, 1), sub(a, 8)
    local id, sku, quantity = sub(p, 1, 16), units_of(p)
    local was_in_flight = redis.call('HDEL', KEYS[3], id) == 1
    if was_in_flight then count(sku, quantity) end
    -- A live order that was in flight needs nothing more.
    if not was_in_flight or verdict ~= 'L' then
        local key, user, item = sub(p, 17, 32), sub(p, 33, 40), sub(p, 41, 44)
        local facts = prefix .. 'facts:' .. sale[1] .. ':' .. (struct.unpack('>I4', user) % tonumber(sale[2]))
        if was_in_flight then
            put_back(sku, quantity)
            give_back(facts, user, quantity)
            give_back(facts, user .. item, quantity)
        else
            local record = redis.call('HGET', facts, key)
            if (not record or sub(record, 1, 16) ~= id) and (verdict == 'L' or not record) then
                forgotten = forgotten + 1
                redis.call('HSET', facts, key, id .. sub(a, 2, 7) .. sub(p, 41, 46))
                log_buyers(user)
                if verdict == 'L' then
                    take(sku, quantity)
                    if is_limited then redis.call('HINCRBY', facts, user, quantity) end
                    redis.call('HINCRBY', facts, user .. item, quantity)
                end
            end
        end
    end
    announce[#announce + 1] = id .. verdict
end

for sku, quantity in pairs(units) do redis.call('HINCRBY', KEYS[4], sku, -quantity) end
if #answer == 1 then
    -- Delete in pieces, because Lua unpacks no more than about 8,000 values.
    for first = 3, entries + 2, 1000 do redis.call('XDEL', KEYS[5], unpack(ARGV, first, math.min(first + 999, entries + 2))) end
end
if #announce > 0 then redis.call('PUBLISH', ARGV[1], table.concat(announce)) end
answer[1] = forgotten
return answer
