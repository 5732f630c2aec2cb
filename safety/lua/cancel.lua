-- Gives back everything that an execution reserved, because it will not run. The target's token stays: tokens only grow.
--
-- KEYS  1 execution   2 target   3 running   4-8 counts   9 place   (as in gate.lua)
-- ARGV  1 execution id
-- Returns 'ok'.

local id = ARGV[1]
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'spent' then return 'ok' end
if redis.call('HGET', KEYS[2], 'holder') == id then
  redis.call('HSET', KEYS[2], 'holder', '', 'until', '0')
end
for number = 3, 8 do redis.call('ZREM', KEYS[number], id) end
redis.call('DEL', KEYS[1], KEYS[9])
return 'ok'
