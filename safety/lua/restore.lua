-- Writes what the durable records say about one execution, after the store was emptied. Never weakens what is there.
--
-- KEYS  1 execution   2 target   3 place   4... counts, flights   (as in gate.lua)
-- ARGV  1 execution id   2 how many counts there are   3 lease ms
--       4 tenant   5 cluster   6 runbook id   7 namespaces   8 plan hash   9 approval id   10 token
--       11 granted ms   12 permit expires ms   13 '1' when it still holds its target   14 cooldown ends ms, 0 for none
--       15 blast radius   16... for each count: for how many ms an execution is remembered
-- Returns 'ok'.

local id, token, granted, expires = ARGV[1], tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local holds, cooling = ARGV[13] == '1', tonumber(ARGV[14])
local counts, flights = keys_of(4, 3 + tonumber(ARGV[2])), keys_of(4 + tonumber(ARGV[2]), #KEYS)

local known = redis.call('HMGET', KEYS[1], 'state', 'blast')
local state, blast = known[1], known[2] or ARGV[15]
local lock = redis.call('HMGET', KEYS[2], 'holder', 'token', 'until', 'cooling')
local last, ends = tonumber(lock[2] or '0'), tonumber(lock[3] or '0')
local held = lock[1] and lock[1] ~= '' and ends > now

redis.call('HSET', KEYS[2], 'token', text(math.max(last, token)))
if holds and state ~= 'spent' and (not held or lock[1] == id) then
  ends = math.max(ends, math.max(now, expires) + tonumber(ARGV[3]))
  redis.call('HSET', KEYS[2], 'holder', id, 'until', text(ends))
  hold(flights, blast .. ':' .. id, ends)
end
if not holds then let_go(flights, blast .. ':' .. id) end
if not holds and lock[1] == id then redis.call('HSET', KEYS[2], 'holder', '', 'until', '0') end
if cooling > now and cooling > tonumber(lock[4] or '0') then
  redis.call('HSET', KEYS[2], 'cooling', text(cooling), 'cooled_by', id)
end
redis.call('PEXPIREAT', KEYS[2], text(math.max(now, ends, cooling) + KEEP_TARGET))

if state ~= 'spent' then
  redis.call('HSET', KEYS[1], 'state', holds and 'confirmed' or 'spent', 'plan', ARGV[8], 'token', text(token),
    'granted', text(granted), 'expires', text(expires), 'approval', ARGV[9], 'blast', blast)
end
redis.call('PEXPIREAT', KEYS[1], text(now + KEEP_EXECUTION))
redis.call('HSET', KEYS[3], 'tenant', ARGV[4], 'cluster', ARGV[5], 'runbook', ARGV[6], 'namespaces', ARGV[7])
redis.call('PEXPIREAT', KEYS[3], text(now + KEEP_EXECUTION))

for number, key in ipairs(counts) do
  local counts_until = granted + tonumber(ARGV[15 + number])
  if counts_until > now then
    redis.call('ZADD', key, text(granted), id)
    keep(key, counts_until - now, KEEP_EXECUTION)
  end
end
return 'ok'
