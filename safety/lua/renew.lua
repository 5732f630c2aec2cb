-- Extends the lock of a running execution on its target.
--
-- KEYS  1 execution   2 target   3 running   4-8 counts   9 place   (as in gate.lua)
-- ARGV  1 execution id   2 token (the epoch of the holder; grows when another process takes the execution over)
--       3 lease ms   4-8 windows of the counts in ms
-- Returns 'held', or 'lost' when somebody else holds or held the target since, or the execution was released.
--         An execution that the store does not know, with nobody else on the target, is 'held': Neo4j is the truth.

local KEEP_EXECUTION = 24 * 3600 * 1000
local KEEP_TARGET = 7 * 24 * 3600 * 1000

local id, token = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function text(number) return string.format('%.0f', number) end

local known = redis.call('HMGET', KEYS[1], 'state', 'granted')
local lock = redis.call('HMGET', KEYS[2], 'holder', 'token', 'until')
local held = lock[1] and lock[1] ~= '' and tonumber(lock[3]) > now
if known[1] == 'spent' then return 'lost' end
if held and lock[1] ~= id then return 'lost' end
-- An older token belongs to a holder that was succeeded, be it by another process of the same execution.
if token < tonumber(lock[2] or '0') then return 'lost' end
if not known[1] then return 'held' end

local ends = math.max(now + tonumber(ARGV[3]), held and tonumber(lock[3]) or 0)
redis.call('HSET', KEYS[2], 'holder', id, 'token', text(token), 'until', text(ends))
redis.call('PEXPIREAT', KEYS[2], text(ends + KEEP_TARGET))
redis.call('HSET', KEYS[1], 'token', text(token))
redis.call('PEXPIREAT', KEYS[1], text(now + KEEP_EXECUTION))
redis.call('PEXPIREAT', KEYS[9], text(now + KEEP_EXECUTION))
redis.call('ZADD', KEYS[3], text(ends), id)
redis.call('PEXPIREAT', KEYS[3], text(ends + KEEP_TARGET))
if known[1] == 'provisional' then
  -- It runs, so its decision is durable; only the confirmation got lost.
  redis.call('HSET', KEYS[1], 'state', 'confirmed')
  for number = 4, 8 do
    redis.call('ZADD', KEYS[number], text(tonumber(known[2]) + tonumber(ARGV[number])), id)
  end
end
return 'held'
