-- look: all that the books need of Redis, at one moment.
-- KEYS  1 stock  2 inflight_units  3 inflight  4 outbox  5 returned
-- ARGV  1 most orders in flight: listing more would hold up the purchases
-- Answers {the number in flight} when there are more, else {stock as field, value, ..; units in flight as field, value, ..; ids of the orders in flight; last outbox id ever given; returns and changes known}
-- Invariant: reads only.
if redis.call('HLEN', KEYS[3]) > tonumber(ARGV[1]) then return { redis.call('HLEN', KEYS[3]) } end
local last = '0-0'
if redis.call('EXISTS', KEYS[4]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[4])
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then last = info[i + 1] end
    end
end
return { redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]), redis.call('HKEYS', KEYS[3]), last, redis.call('HLEN', KEYS[5]) }
