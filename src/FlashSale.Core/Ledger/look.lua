-- look: reads everything that the books need from Redis, at one moment.
-- KEYS  1 stock  2 inflight_units  3 inflight  4 outbox  5 returned
-- ARGV  ids of orders that were in flight a moment ago and are in Postgres as well; possibly no ids
-- Answers {stock as field, value, ..; units in flight as field, value, ..; those of the ids that are still in flight;
--   last outbox id ever given; number of returns and changes known}
-- Invariant: the script only reads.
local last = '0-0'
if redis.call('EXISTS', KEYS[4]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[4])
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then last = info[i + 1] end
    end
end
local both = {}
for first = 1, #ARGV, 1000 do
    -- Read in pieces, because Lua unpacks no more than about 8,000 values.
    local some = redis.call('HMGET', KEYS[3], unpack(ARGV, first, math.min(first + 999, #ARGV)))
    for i, record in ipairs(some) do
        if record then both[#both + 1] = ARGV[first + i - 1] end
    end
end
return { redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]), both, last, redis.call('HLEN', KEYS[5]) }
