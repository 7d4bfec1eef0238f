-- change_stock: raises or lowers what remains of an item, once per change, however often it is called.
-- KEYS  1 sale  2 stock  3 returned                                             (layout: Sales/SaleKeys.cs)
-- ARGV  1 name of the change, from its item, delta and idempotency key  2 epoch  3 sku  4 delta  5 apply | revoke (Postgres refuses: undo it, if it was applied)
--   6 units of stock after it, of which pages take what "low" is; '' where the caller does not know
-- Answers {verdict, remaining}: 1 applied, now or before   0 refused, now or before: fewer remain than are taken away
--   -1 this Redis does not hold the sale, verified, under that epoch
-- Invariants: remaining never below 0. The verdict is kept (epoch, or -epoch when refused), so that a call which
--   was given up and arrives late changes nothing that was not said. Another epoch's stock is never touched: a rebuild
--   has computed it from Postgres.
local sale = redis.call('HMGET', KEYS[1], 'epoch', 'run')
if sale[1] ~= ARGV[2] or not sale[2] then return { -1, 0 } end
if not verified(sale[2]) then return { -1, 0 } end
local remaining = tonumber(redis.call('HGET', KEYS[2], ARGV[3]))
if not remaining then return { -1, 0 } end

local verdict = redis.call('HGET', KEYS[3], ARGV[1])
local refused = '-' .. ARGV[2]

-- The verdict goes first: it is the only write that memory can refuse.
local function decide(verdict, units)
    redis.call('HSET', KEYS[3], ARGV[1], verdict)
    if units ~= remaining then redis.call('HSET', KEYS[2], ARGV[3], units) end
    if remaining <= 0 and units > 0 then came_back(ARGV[3]) end
    if remaining > 0 and units <= 0 then ran_out() end
    if verdict ~= refused and ARGV[6] ~= '' then redis.call('HSET', prefix .. 'stocked', ARGV[3], ARGV[6]) end
    return { verdict == refused and 0 or 1, units }
end

if ARGV[5] == 'revoke' then return decide(refused, verdict == ARGV[2] and remaining - ARGV[4] or remaining) end
if verdict == ARGV[2] then return { 1, remaining } end
if verdict == refused then return { 0, remaining } end
if remaining + ARGV[4] < 0 then return decide(refused, remaining) end
-- Units that come in pay what is owed first.
local delta = tonumber(ARGV[4])
return decide(ARGV[2], remaining + (delta > 0 and pay(ARGV[3], delta) or delta))
