-- publish: makes a version of a document known to all nodes.
-- KEYS[1] a hash: name -> JSON, 'versions' -> JSON of {name: version}; also the channel that announces changes
-- ARGV    name, version (below 10^14: what JSON keeps exactly here), JSON ('' takes the document out)
-- Answers 1 when it was taken, 0 when the same or a higher version is there.
-- Invariant: a document's published version never goes back.
local versions = cjson.decode(redis.call('HGET', KEYS[1], 'versions') or '{}')
if (versions[ARGV[1]] or 0) >= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then
    versions[ARGV[1]] = nil
    redis.call('HDEL', KEYS[1], ARGV[1])
else
    versions[ARGV[1]] = tonumber(ARGV[2])
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
redis.call('HSET', KEYS[1], 'versions', next(versions) and cjson.encode(versions) or '{}')
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
