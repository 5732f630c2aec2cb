-- Ends an execution: frees its target and starts the target's cooldown. Doing it twice changes nothing.
--
-- KEYS  1 execution   2 target   3 place   4... counts, flights   (as in gate.lua)
-- ARGV  1 execution id   2 how many counts there are   3 cooldown ms
-- Returns 'ok'.

local id = ARGV[1]
local known = redis.call('HMGET', KEYS[1], 'state', 'granted', 'blast')
if known[1] == 'spent' then return 'ok' end
local lock = redis.call('HMGET', KEYS[2], 'holder', 'cooling', 'until')

-- The cooldown starts even when the lock went to somebody else: something was done to the target.
local cooling = now + tonumber(ARGV[3])
if cooling > now and cooling > tonumber(lock[2] or '0') then
  redis.call('HSET', KEYS[2], 'cooling', text(cooling), 'cooled_by', id)
end
if lock[1] == id then redis.call('HSET', KEYS[2], 'holder', '', 'until', '0') end
redis.call('PEXPIREAT', KEYS[2], text(math.max(cooling, tonumber(lock[3] or '0')) + KEEP_TARGET))
let_go(keys_of(4 + tonumber(ARGV[2]), #KEYS), (known[3] or '0') .. ':' .. id)
redis.call('HSET', KEYS[1], 'state', 'spent')
redis.call('PEXPIREAT', KEYS[1], text(now + KEEP_EXECUTION))
if known[1] == 'provisional' then settle(keys_of(4, 3 + tonumber(ARGV[2])), id, tonumber(known[2])) end
return 'ok'
