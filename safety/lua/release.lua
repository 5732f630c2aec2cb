-- Ends an execution: frees its target and starts the target's cooldown. Doing it twice changes nothing.
--
-- KEYS  1 execution   2 target   3 running   4-8 counts   (as in gate.lua)
-- ARGV  1 execution id   2 cooldown ms   3-7 windows of the counts in ms
-- Returns 'ok'.

local KEEP_EXECUTION = 24 * 3600 * 1000
local KEEP_TARGET = 7 * 24 * 3600 * 1000

local id = ARGV[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function text(number) return string.format('%.0f', number) end

local known = redis.call('HMGET', KEYS[1], 'state', 'granted')
if known[1] == 'spent' then return 'ok' end
local lock = redis.call('HMGET', KEYS[2], 'holder', 'cooling', 'until')

-- The cooldown starts even when the lock went to somebody else: something was done to the target.
local cooling = now + tonumber(ARGV[2])
if cooling > now and cooling > tonumber(lock[2] or '0') then
  redis.call('HSET', KEYS[2], 'cooling', text(cooling), 'cooled_by', id)
end
if lock[1] == id then redis.call('HSET', KEYS[2], 'holder', '', 'until', '0') end
redis.call('PEXPIREAT', KEYS[2], text(math.max(cooling, tonumber(lock[3] or '0')) + KEEP_TARGET))
redis.call('ZREM', KEYS[3], id)
redis.call('HSET', KEYS[1], 'state', 'spent')
redis.call('PEXPIREAT', KEYS[1], text(now + KEEP_EXECUTION))
if known[1] == 'provisional' then
  for number = 4, 8 do
    redis.call('ZADD', KEYS[number], text(tonumber(known[2]) + tonumber(ARGV[number - 1])), id)
  end
end
return 'ok'
