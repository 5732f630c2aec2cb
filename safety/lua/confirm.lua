-- Turns a provisional reservation into a confirmed one, once its decision is durable.
--
-- KEYS  1 execution   2 target   3 place   4... counts, flights   (as in gate.lua)
-- ARGV  1 execution id   2 how many counts there are   3 lease ms
-- Returns 'ok', or 'lost' when the reservation lapsed: then its decision must not be published, but asked for again.

local id = ARGV[1]
local known = redis.call('HMGET', KEYS[1], 'state', 'granted', 'expires', 'blast')
if not known[1] then return 'lost' end
if known[1] ~= 'provisional' then return 'ok' end
local lock = redis.call('HMGET', KEYS[2], 'holder', 'until')
if lock[1] ~= id or tonumber(lock[2]) <= now then return 'lost' end

-- Whoever redeems the permit in its last moment still has a whole lease to say so.
local ends = tonumber(known[3]) + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'state', 'confirmed')
redis.call('HSET', KEYS[2], 'until', text(ends))
redis.call('PEXPIREAT', KEYS[2], text(ends + KEEP_TARGET))
settle(keys_of(4, 3 + tonumber(ARGV[2])), id, tonumber(known[2]))
hold(keys_of(4 + tonumber(ARGV[2]), #KEYS), (known[4] or '0') .. ':' .. id, ends)
return 'ok'
