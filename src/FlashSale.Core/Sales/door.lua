-- door: tells whether a loaded sale sells at this moment. It is the beginning of reserve.lua and admit.lua.
-- KEYS[1] sale
-- ARGV[2] epoch, ARGV[3] not-after (Redis TIME, Unix ms)
-- Answers by door(): 'A' if the sale sells, else the reason: N not loaded, or being loaded
--   V not verified since Redis started   E other epoch   D past not-after   P paused   O not open yet   C closed
-- Invariant: reads only. The run id ties selling to the Redis process that the worker has verified. A Redis that was
--   restarted has another run id, no matter how much of its data it still has.
local sale = redis.call('HMGET', KEYS[1], 'epoch', 'status', 'opens', 'closes', 'run', 'held', 'limit', 'buckets', 'tickets', 'admission', 'back')
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function door()
    if not sale[1] or sale[6] then return 'N' end
    if not sale[5] or not string.find(redis.call('INFO', 'server'), 'run_id:' .. sale[5], 1, true) then return 'V' end
    if sale[1] ~= ARGV[2] then return 'E' end
    if now > tonumber(ARGV[3]) then return 'D' end
    if sale[2] == 'paused' then return 'P' end
    if now < tonumber(sale[3]) then return 'O' end
    if sale[2] ~= 'live' or now >= tonumber(sale[4]) then return 'C' end
    return 'A'
end
