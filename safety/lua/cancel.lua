-- Gives back everything that an execution reserved, because it will not run. The target's token stays: tokens only grow.
--
-- KEYS  1 execution   2 target   3 place   4... counts, flights   (as in gate.lua)
-- ARGV  1 execution id   2 how many counts there are
-- Returns 'ok'.

local id = ARGV[1]
local known = redis.call('HMGET', KEYS[1], 'state', 'blast')
if not known[1] or known[1] == 'spent' then return 'ok' end
if redis.call('HGET', KEYS[2], 'holder') == id then
  redis.call('HSET', KEYS[2], 'holder', '', 'until', '0')
end
forget(keys_of(4, 3 + tonumber(ARGV[2])), id)
let_go(keys_of(4 + tonumber(ARGV[2]), #KEYS), (known[2] or '0') .. ':' .. id)
redis.call('DEL', KEYS[1], KEYS[3])
return 'ok'
