-- Asks for one execution: everything that needs the store's memory, in one atomic call.
-- Either all of it is reserved (target, rates) or nothing is written at all.
--
-- KEYS  1 primed         exists once the store was filled from the records (untagged)
--       2 pause          hash by, reason, at; exists while automation is paused (untagged)
--       3 place          hash tenant, cluster, runbook: where an execution's keys are (untagged)
--       4 execution      hash state, plan, token, granted, expires, approval
--       5 target         hash holder, token, until, cooling, cooled_by
--       6 runbook rate   sorted set: execution id by the millisecond in which it stops to count
--       7 cluster rate   the same for all runbooks of a cluster
-- ARGV  1 'reserve', or 'peek' to look without reserving
--       2 execution id   3 tenant   4 cluster   5 runbook id   6 plan hash   7 approval id
--       8 most executions of the runbook in the window, -1 for no limit
--       9 most executions of the cluster in the window
--       10 provisional ms   11 permit ms   12 window ms
-- Returns {'permit', token, expires ms, approval id}, {'clear'} (peek, nothing speaks against it),
--         {'unprimed'}, or {'refuse', check, name, value, ...}. All values are text.

local KEEP_EXECUTION = 24 * 3600 * 1000
local KEEP_TARGET = 7 * 24 * 3600 * 1000

local primed, pause, place, execution, target = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local rates = {
  {key = KEYS[6], check = 'runbook_rate', limit = tonumber(ARGV[8])},
  {key = KEYS[7], check = 'cluster_rate', limit = tonumber(ARGV[9])},
}
local id, plan = ARGV[2], ARGV[6]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Lua would print milliseconds as 1.7e+12.
local function text(number) return string.format('%.0f', number) end
local function refuse(check, ...) return {'refuse', check, ...} end

-- Members that still count, without this execution itself: it must not stand in its own way.
local function counted(key)
  local used = redis.call('ZCOUNT', key, '(' .. text(now), '+inf')
  local own = redis.call('ZSCORE', key, id)
  if own and tonumber(own) > now then used = used - 1 end
  return used
end

if redis.call('EXISTS', primed) == 0 then return {'unprimed'} end

local known = redis.call('HMGET', execution, 'state', 'plan', 'token', 'expires', 'approval')
local lock = redis.call('HMGET', target, 'holder', 'token', 'until', 'cooling', 'cooled_by')
local state, holder, last = known[1], lock[1], tonumber(lock[2] or '0')
local held = holder and holder ~= '' and tonumber(lock[3]) > now
local mine = held and holder == id

if state == 'spent' then return refuse('used', 'execution', id) end
if state and (mine or state == 'confirmed') and known[2] ~= plan then
  return refuse('plan_changed', 'permitted', known[2], 'asked', plan)
end
if state and mine then return {'permit', known[3], known[4], known[5]} end

if redis.call('EXISTS', pause) == 1 then
  local why = redis.call('HMGET', pause, 'by', 'reason')
  return refuse('pause', 'by', why[1] or '', 'reason', why[2] or '')
end
if held then
  return refuse('lock', 'holder', holder, 'token', text(last), 'ms_left', text(tonumber(lock[3]) - now))
end
local cooling = tonumber(lock[4] or '0')
if cooling > now then
  return refuse('cooldown', 'after', lock[5] or '', 'ms_left', text(cooling - now))
end
for _, rate in ipairs(rates) do
  if rate.limit >= 0 then
    local used = counted(rate.key)
    if used >= rate.limit then return refuse(rate.check, 'used', text(used), 'limit', text(rate.limit)) end
  end
end
if ARGV[1] == 'peek' then return {'clear'} end

-- The first write is one that a full store denies: nothing before it, so nothing is half done.
local token, expires, lapses = math.max(last + 1, now), now + tonumber(ARGV[11]), now + tonumber(ARGV[10])
redis.call('HSET', execution, 'state', 'provisional', 'plan', plan, 'token', text(token),
  'granted', text(now), 'expires', text(expires), 'approval', ARGV[7])
redis.call('PEXPIREAT', execution, text(now + KEEP_EXECUTION))
redis.call('HSET', place, 'tenant', ARGV[3], 'cluster', ARGV[4], 'runbook', ARGV[5])
redis.call('PEXPIREAT', place, text(now + KEEP_EXECUTION))
redis.call('HSET', target, 'holder', id, 'token', text(token), 'until', text(lapses))
redis.call('PEXPIREAT', target, text(lapses + KEEP_TARGET))
for _, rate in ipairs(rates) do
  redis.call('ZREMRANGEBYSCORE', rate.key, '-inf', text(now))
  -- A provisional entry stops to count by itself; a confirmed one of the same execution is kept.
  local own = tonumber(redis.call('ZSCORE', rate.key, id) or '0')
  redis.call('ZADD', rate.key, text(math.max(own, lapses)), id)
  redis.call('PEXPIREAT', rate.key, text(now + tonumber(ARGV[12]) + KEEP_EXECUTION))
end
return {'permit', text(token), text(expires), ARGV[7]}
