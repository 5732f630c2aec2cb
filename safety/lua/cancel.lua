-- Gives back everything that an execution reserved, because it will not run. The target's token stays: tokens only grow.
--
-- KEYS  1 execution   2 target   3 runbook rate   4 cluster rate   5 place   (as in gate.lua)
-- ARGV  1 execution id
-- Returns 'ok'.

local id = ARGV[1]
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'spent' then return 'ok' end
if redis.call('HGET', KEYS[2], 'holder') == id then
  redis.call('HSET', KEYS[2], 'holder', '', 'until', '0')
end
redis.call('ZREM', KEYS[3], id)
redis.call('ZREM', KEYS[4], id)
redis.call('DEL', KEYS[1], KEYS[5])
return 'ok'
