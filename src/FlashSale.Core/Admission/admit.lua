-- admit: takes one ticket's worth from the sale's token bucket and marks the caller's solved challenge as used, both or neither.
-- KEYS  1 sale  2 token bucket  3 mark of the solution                            (layout: Sales/SaleKeys.cs)
-- ARGV  1 expiry of the solved challenge (Unix ms; 0 = the caller needed none)  2 epoch  3 not-after (Redis TIME, Unix ms)
-- Answers {code, now (Redis TIME, Unix ms), for L: ms until the bucket holds a token}:
--   A admitted   N V E D P O C as of door.lua   X the challenge has expired or its solution was used   L beyond the admission rate
-- Invariant: a solution admits once over all nodes, and a refused one stays usable. Over any time t no more than rate * t + 1 + rate / 10
--   are admitted: the bucket holds one token and what a tenth of a second brings, so that none is lost while callers are on their way.
--   Both keys expire by themselves: the bucket when it is full again, the mark with its challenge.
local state = door()
local expires = tonumber(ARGV[1])
if state == 'A' and expires > 0 and (now >= expires or redis.call('EXISTS', KEYS[3]) == 1) then state = 'X' end
if state ~= 'A' then return { state, now, 0 } end

local rate = tonumber(sale[10] or 0)
if rate > 0 then
    local capacity = 1 + rate / 10
    local micros = clock[1] * 1000000 + clock[2]
    local bucket = redis.call('HMGET', KEYS[2], 'tokens', 'at')
    local tokens = capacity
    if bucket[1] then
        local passed = micros - bucket[2]
        -- A clock that was set back brings nothing, and is followed.
        if passed < 0 then redis.call('HSET', KEYS[2], 'at', micros) end
        tokens = math.min(capacity, bucket[1] + math.max(0, passed) * rate / 1000000)
    end
    if tokens < 1 then return { 'L', now, math.ceil((1 - tokens) * 1000 / rate) } end
    redis.call('HSET', KEYS[2], 'tokens', tokens - 1, 'at', micros)
    redis.call('PEXPIRE', KEYS[2], math.ceil((capacity - tokens + 1) * 1000 / rate) + 1)
end
if expires > 0 then redis.call('SET', KEYS[3], 1, 'PX', expires - now) end
return { 'A', now, 0 }
