-- publish: makes a version of a document known to all nodes.
-- KEYS[1] a hash: name -> JSON, 'versions' -> JSON of {name: version}, 'removed|name' -> version that took the document
--         out. Its name is also the channel that announces changes.
-- ARGV    name, version (below 10^14, because cjson writes 14 digits), JSON ('' takes the document out)
-- Answers 0 when that version is there now, else the higher version that is there and stays.
-- Invariant: a document's published version never goes back, not even after the document was taken out.
local versions = cjson.decode(redis.call('HGET', KEYS[1], 'versions') or '{}')
local removed = 'removed|' .. ARGV[1]
local there, version = versions[ARGV[1]] or tonumber(redis.call('HGET', KEYS[1], removed) or 0), tonumber(ARGV[2])
if there > version then return there end
if there == version then return 0 end
if ARGV[3] == '' then
    versions[ARGV[1]] = nil
    redis.call('HDEL', KEYS[1], ARGV[1])
    redis.call('HSET', KEYS[1], removed, ARGV[2])
else
    versions[ARGV[1]] = tonumber(ARGV[2])
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
    redis.call('HDEL', KEYS[1], removed)
end
redis.call('HSET', KEYS[1], 'versions', next(versions) and cjson.encode(versions) or '{}')
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 0
