-- reserve: decides the purchases of one call, one by one and in order, and makes the accepted ones durable in one step.
-- KEYS  1 sale  2 stock  3 limit  4 inflight  5 inflight_units  6 outbox          (layout: Sales/SaleKeys.cs)
-- ARGV  1 request id (8 bytes, echoed)  2 epoch  3 not-after (Redis TIME, Unix ms)  4.. purchases (Contracts/Reservation.cs); each may be
--   followed by its ticket, which is shorter than any purchase: id (16) | expiry (6, ms) | epoch (6), its signature and user checked by the
--   caller; any other text is an invalid ticket
-- Answers one string: request id | time (6 bytes, ms: of the acceptances, else now) | per purchase a code:
--   A accepted   Z accepted, and it took the last unit   R replay, followed by order id (16) and acceptedAt (6)
--   K key reused for another purchase   N not loaded, or being loaded   V not verified since Redis started   E other epoch   D past not-after
--   P paused   O not open yet   C closed   T ticket missing   I ticket invalid   U purchase limit   S sold out   F fewer left than asked for
--   B units came back after nothing was left, and are for sale in that many ms (2 bytes)
-- Invariants: remaining never below 0, no user above a limit, one order per key, one per ticket, and each acceptance is in the outbox.
--   Lua has no rollback: everything is read and checked first, then XADD, the only write that can be refused (OOM).
--   After S or B a node answers "sold out" by itself for a while (Purchase/SoldOutMark.cs). So no unit of the item is sold for REST ms
--   after it had none: otherwise a node could refuse a user who has bought one meanwhile through another node.
-- Numbers become text by %d: Lua's own way is to print a floating-point number, several times a purchase.
local sub, byte, format = string.sub, string.byte, string.format
local prefix = sub(KEYS[1], 1, -5)                         -- without 'sale'
local needs_ticket = sale[9] == '1'

local state
local REST = 550                                           -- ms; more than a node's mark lives
local LOG_BYTES = 503316480                                -- the log of buyers ends here: Redis refuses a text beyond 512 MB
local came_back = tonumber(sale[11] or 0)
local sale_limit = tonumber(sale[7] or 0)
local buckets = tonumber(sale[8] or 1)
local all_facts = prefix .. 'facts:' .. (sale[1] or '0') .. ':'
local stock, limit, rests, units, seen, burnt = {}, {}, {}, {}, {}, {}    -- read and changed by this call
local codes, accepted, records, repeated = {}, {}, {}, {}

-- How many ms the units of an item rest still, or nil. A clock that was set back keeps nobody waiting.
local function rest_of(sku)
    if stock[sku] <= 0 or now >= came_back + REST then return end
    local since = now - tonumber(redis.call('HGET', prefix .. 'back', sku) or 0)
    if since >= 0 and since < REST then return REST - since end
end

-- Why a ticket does not admit, or nil.
local function judge_ticket(ticket, id, is_burnt)
    if not ticket then return 'T' end
    if not id or is_burnt or burnt[id] then return 'I' end
    if now >= struct.unpack('>I6', ticket, 17) or tonumber(sale[1]) ~= struct.unpack('>I6', ticket, 23) then return 'I' end
end

local function judge(p, i, ticket)
    local key, user, user_item = sub(p, 17, 32), sub(p, 33, 40), sub(p, 33, 44)
    local quantity = byte(p, 45) * 256 + byte(p, 46)
    local sku = sub(p, 59, 58 + byte(p, 58))
    local facts = all_facts .. format('%d', struct.unpack('>I4', user) % buckets)
    -- Burnt tickets are known by 10 bytes of their id: no other fact's name is as long.
    local ticket_id = needs_ticket and ticket and #ticket == 28 and sub(ticket, 1, 10)
    local known = (sale_limit > 0 or ticket_id) and redis.call('HMGET', facts, key, user_item, user, ticket_id or '') or redis.call('HMGET', facts, key, user_item)

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
        rests[sku] = rest_of(sku)
    end
    local refused = needs_ticket and judge_ticket(ticket, ticket_id, known[4])
    if refused then return refused end
    local of_item = (units[user_item] or tonumber(known[2] or 0)) + quantity
    -- Counted only where it is limited.
    local in_sale = sale_limit > 0 and (units[user] or tonumber(known[3] or 0)) + quantity
    if of_item > limit[sku] or (in_sale and in_sale > sale_limit) then return 'U' end
    if stock[sku] <= 0 then return 'S' end
    if rests[sku] then return 'B' .. struct.pack('>I2', rests[sku]) end
    if stock[sku] < quantity then return 'F' end

    stock[sku] = stock[sku] - quantity
    units[user], units[user_item] = in_sale, of_item
    seen[key] = p
    if ticket_id then burnt[ticket_id] = true end
    records[#records + 1] = p
    accepted[#accepted + 1] = {
        p = p, facts = facts, key = key, sku = sku, quantity = quantity, user = user, in_sale = in_sale, user_item = user_item, of_item = of_item, ticket_id = ticket_id }
    return stock[sku] == 0 and 'Z' or 'A'
end

local position, last = 4, #ARGV
while position <= last do
    local p, ticket = ARGV[position], ARGV[position + 1]
    if ticket and #ticket > 28 then ticket = nil end       -- the next purchase
    local i = #codes + 1
    codes[i] = judge(p, i, ticket)
    position = position + (ticket and 2 or 1)
end

if #accepted > 0 then
    local buyers = prefix .. 'buyers:' .. sale[1]
    -- Keys of another type raise here, before anything is written.
    redis.call('HLEN', KEYS[4])
    local logged = redis.call('STRLEN', buyers)
    local in_flight, log = {}, {}
    for _, a in ipairs(accepted) do
        in_flight[a.sku] = (in_flight[a.sku] or tonumber(redis.call('HGET', KEYS[5], a.sku) or 0)) + a.quantity
    end

    local entry = redis.call('XADD', KEYS[6], '*', 'r', '\1' .. table.concat(records))
    now = tonumber(string.match(entry, '^%d+'))
    local at = struct.pack('>I6', now)

    local inflight = {}
    for n, a in ipairs(accepted) do
        local id = sub(a.p, 1, 16)
        inflight[n * 2 - 1], inflight[n * 2] = id, at .. a.p
        log[n] = a.user
        local facts = { a.facts, a.key, id .. at .. sub(a.p, 41, 46), a.user_item, format('%d', a.of_item) }
        if a.in_sale then facts[6], facts[7] = a.user, format('%d', a.in_sale) end
        if a.ticket_id then facts[#facts + 1], facts[#facts + 2] = a.ticket_id, '1' end
        redis.call('HSET', unpack(facts))
    end
    redis.call('HSET', KEYS[4], unpack(inflight))
    for sku, total in pairs(in_flight) do
        redis.call('HSET', KEYS[2], sku, stock[sku])
        if stock[sku] == 0 then redis.call('HINCRBY', KEYS[1], 'left', -1) end
        redis.call('HSET', KEYS[5], sku, total)
    end
    if logged < LOG_BYTES then redis.call('APPEND', buyers, table.concat(log)) end
end

for i, id in pairs(repeated) do codes[i] = 'R' .. id .. struct.pack('>I6', now) end
return ARGV[1] .. struct.pack('>I6', now) .. table.concat(codes)
