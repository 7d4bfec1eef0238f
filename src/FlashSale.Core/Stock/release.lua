-- release: gives the units of cancelled, expired or refunded orders back to the sale, and takes them off their users'
--   counts.
-- KEYS  1 sale  2 stock  3 returned                                             (layout: Sales/SaleKeys.cs)
-- ARGV  1 channel of settled orders  2 epoch  3.. returns: acceptedAt (6) | order id (16) |
--   idempotency fingerprint (16) | user hash (8) | item (4) |
--   quantity (2, its highest bit set if the units stay on the user's count) | sku
-- Answers 1, or 0 when this Redis does not hold the sale under that epoch, or the sale is not verified. Then the script
--   has done nothing.
-- Invariant: an order's units return once under an epoch, however often and late the script is called. The hash
--   returned is keyed by order id, because a Postgres that lost numbers in a failover gives them again, to other
--   returns. The script knows an order by its idempotency record. Without one, Redis has forgotten the order and never
--   debited it here. Then the script records it, so that settling it later debits nothing either, and moves no unit.
local sub, byte = string.sub, string.byte
local sale = redis.call('HMGET', KEYS[1], 'epoch', 'buckets', 'run')
if sale[1] ~= ARGV[2] or not verified(sale[3]) then return 0 end
local announce = {}
for i = 3, #ARGV do
    local a = ARGV[i]
    local at, id, key, user, item = sub(a, 1, 6), sub(a, 7, 22), sub(a, 23, 38), sub(a, 39, 46), sub(a, 47, 50)
    local keeps_count = byte(a, 51) >= 128
    local quantity, sku = byte(a, 51) % 128 * 256 + byte(a, 52), sub(a, 53)
    if redis.call('HGET', KEYS[3], id) ~= sale[1] then
        local facts = prefix .. 'facts:' .. sale[1] .. ':' .. (struct.unpack('>I4', user) % tonumber(sale[2]))
        local record = redis.call('HGET', facts, key)
        -- Write the verdict first. It is the only write that Redis can refuse for lack of memory.
        redis.call('HSET', KEYS[3], id, sale[1])
        if record and sub(record, 1, 16) == id then
            put_back(sku, quantity)
            if not keeps_count then
                give_back(facts, user, quantity)
                give_back(facts, user .. item, quantity)
            end
        elseif not record then
            redis.call('HSET', facts, key, id .. at .. item .. struct.pack('>I2', quantity))
        end
    end
    announce[#announce + 1] = id .. 'X'
end
if #announce > 0 then redis.call('PUBLISH', ARGV[1], table.concat(announce)) end
return 1
