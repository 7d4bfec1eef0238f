-- change_stock: raises or lowers the remaining units of an item, once per change, however often it is called.
-- KEYS  1 sale  2 stock  3 returned                                             (layout: Sales/SaleKeys.cs)
-- ARGV  1 name of the change, made from its item, delta and idempotency key  2 epoch  3 sku  4 delta
--   5 apply | revoke (Postgres refuses the change: undo it if it was applied)
--   6 the item's stock in units after the change, by which sale pages judge "low". '' if the caller does not know it
-- Answers {verdict, remaining}: 1 applied, now or before   0 refused, now or before: too few units remain to take away
--   -1 this Redis does not hold the sale and the item under that epoch, or the sale is not verified
-- Invariants: remaining is never below 0. The script keeps the verdict (the epoch, or -epoch for a refusal), so a
--   call that its caller gave up and that arrives late cannot contradict a verdict given since. The script never
--   touches the stock of another epoch, because a rebuild has computed it from Postgres.
local sale = redis.call('HMGET', KEYS[1], 'epoch', 'run')
if sale[1] ~= ARGV[2] or not sale[2] then return { -1, 0 } end
if not verified(sale[2]) then return { -1, 0 } end
local remaining = tonumber(redis.call('HGET', KEYS[2], ARGV[3]))
if not remaining then return { -1, 0 } end

local verdict = redis.call('HGET', KEYS[3], ARGV[1])
local refused = '-' .. ARGV[2]

-- Write the verdict first. It is the only write that Redis can refuse for lack of memory.
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
-- Units that come in first pay the units owed.
local delta = tonumber(ARGV[4])
return decide(ARGV[2], remaining + (delta > 0 and pay(ARGV[3], delta) or delta))
