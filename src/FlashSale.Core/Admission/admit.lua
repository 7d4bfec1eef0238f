-- admit: gives a user a ticket. If the user's latest ticket is still good, that is the one. A new ticket costs a token
--   from the sale's bucket and, while challenges are on, a solved challenge.
-- KEYS  1 sale  2 token bucket  3 mark of the solution  4 the user's latest ticket       (layout: Sales/SaleKeys.cs)
-- ARGV  1 expiry of the solved challenge (Unix ms; 0 = no challenge was needed)  2 epoch
--       3 not-after (Redis TIME, Unix ms)  4 user hash (8 bytes)  5 id of a new ticket (16 bytes)  6 its lifetime (ms)
-- Answers {code, now (Redis TIME, Unix ms), for L: ms until the bucket holds a token,
--     for A: ticket (28 bytes: id | expiry | epoch)}:
--   A admitted   N V E D P O C as of door.lua   X the challenge has expired or its solution was used
--   L beyond the admission rate
-- Invariant: a user has at most one ticket that can buy, no matter how often and through which node the user asks.
--   A solution admits once over all nodes, and a refused one stays usable. Over any time t at most
--   rate * t + 1 + rate / 10 new tickets are given: the bucket holds one token and the tokens of a tenth of a second,
--   so that no token is lost while callers are on their way.
--   All three keys expire by themselves: the bucket when it is full again, mark and ticket with their own time.
local state = door()
if state ~= 'A' then return { state, now, 0, '' } end

-- Look for the ticket first. If an answer was lost, the user comes again with a used solution and must get the ticket.
local held = redis.call('GET', KEYS[4])
if held and struct.unpack('>I6', held, 17) > now and struct.unpack('>I6', held, 23) == tonumber(sale[1]) then
    local bucket = struct.unpack('>I4', ARGV[4]) % tonumber(sale[8] or 1)
    local facts = string.format('%sfacts:%s:%d', string.sub(KEYS[1], 1, -5), sale[1], bucket)
    if redis.call('HEXISTS', facts, string.sub(held, 1, 10)) == 0 then return { 'A', now, 0, held } end
end

local expires = tonumber(ARGV[1])
if expires > 0 and (now >= expires or redis.call('EXISTS', KEYS[3]) == 1) then return { 'X', now, 0, '' } end

local rate = tonumber(sale[10] or 0)
if rate > 0 then
    local capacity = 1 + rate / 10
    local micros = clock[1] * 1000000 + clock[2]
    local bucket = redis.call('HMGET', KEYS[2], 'tokens', 'at')
    local tokens = capacity
    if bucket[1] then
        local passed = micros - bucket[2]
        -- A clock that was set back adds no tokens. The bucket continues from the new time.
        if passed < 0 then redis.call('HSET', KEYS[2], 'at', micros) end
        tokens = math.min(capacity, bucket[1] + math.max(0, passed) * rate / 1000000)
    end
    if tokens < 1 then return { 'L', now, math.ceil((1 - tokens) * 1000 / rate), '' } end
    redis.call('HSET', KEYS[2], 'tokens', tokens - 1, 'at', micros)
    redis.call('PEXPIRE', KEYS[2], math.ceil((capacity - tokens + 1) * 1000 / rate) + 1)
end
if expires > 0 then redis.call('SET', KEYS[3], 1, 'PX', expires - now) end
local ticket = ARGV[5] .. struct.pack('>I6I6', now + tonumber(ARGV[6]), tonumber(sale[1]))
redis.call('SET', KEYS[4], ticket, 'PX', ARGV[6])
return { 'A', now, 0, ticket }
