-- Writes what the durable records say about one execution, after the store was emptied. Never weakens what is there.
--
-- KEYS  1 execution   2 target   3 running   4-8 counts   9 place   (as in gate.lua)
-- ARGV  1 execution id   2 tenant   3 cluster   4 runbook id   5 plan hash   6 approval id   7 token
--       8 granted ms   9 permit expires ms   10 '1' when it still holds its target   11 cooldown ends ms, 0 for none
--       12 lease ms   13-17 windows of the counts in ms
-- Returns 'ok'.

local KEEP_EXECUTION = 24 * 3600 * 1000
local KEEP_TARGET = 7 * 24 * 3600 * 1000

local id, token, granted, expires = ARGV[1], tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local holds, cooling = ARGV[10] == '1', tonumber(ARGV[11])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function text(number) return string.format('%.0f', number) end

local state = redis.call('HGET', KEYS[1], 'state')
local lock = redis.call('HMGET', KEYS[2], 'holder', 'token', 'until', 'cooling')
local last, ends = tonumber(lock[2] or '0'), tonumber(lock[3] or '0')
local held = lock[1] and lock[1] ~= '' and ends > now

redis.call('HSET', KEYS[2], 'token', text(math.max(last, token)))
if holds and state ~= 'spent' and (not held or lock[1] == id) then
  ends = math.max(ends, math.max(now, expires) + tonumber(ARGV[12]))
  redis.call('HSET', KEYS[2], 'holder', id, 'until', text(ends))
  redis.call('ZADD', KEYS[3], text(ends), id)
  redis.call('PEXPIREAT', KEYS[3], text(ends + KEEP_TARGET))
end
if not holds then redis.call('ZREM', KEYS[3], id) end
if not holds and lock[1] == id then redis.call('HSET', KEYS[2], 'holder', '', 'until', '0') end
if cooling > now and cooling > tonumber(lock[4] or '0') then
  redis.call('HSET', KEYS[2], 'cooling', text(cooling), 'cooled_by', id)
end
redis.call('PEXPIREAT', KEYS[2], text(math.max(now, ends, cooling) + KEEP_TARGET))

if state ~= 'spent' then
  redis.call('HSET', KEYS[1], 'state', holds and 'confirmed' or 'spent', 'plan', ARGV[5], 'token', text(token),
    'granted', text(granted), 'expires', text(expires), 'approval', ARGV[6])
end
redis.call('PEXPIREAT', KEYS[1], text(now + KEEP_EXECUTION))
redis.call('HSET', KEYS[9], 'tenant', ARGV[2], 'cluster', ARGV[3], 'runbook', ARGV[4])
redis.call('PEXPIREAT', KEYS[9], text(now + KEEP_EXECUTION))

for number = 4, 8 do
  local counts_until = granted + tonumber(ARGV[number + 9])
  if counts_until > now then
    redis.call('ZADD', KEYS[number], text(counts_until), id)
    redis.call('PEXPIREAT', KEYS[number], text(counts_until + KEEP_EXECUTION))
  end
end
return 'ok'
