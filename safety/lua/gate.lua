-- Asks for one execution: everything that needs the store's memory, in one atomic call.
-- Either all of it is reserved (target, rates) or nothing is written at all.
--
-- KEYS  1 primed         exists once the store was filled from the records (untagged)
--       2 pause          hash by, reason, at; exists while automation is paused (untagged)
--       3 place          hash tenant, cluster, runbook: where an execution's keys are (untagged)
--       4 execution      hash state, plan, token, granted, expires, approval
--       5 target         hash holder, token, until, cooling, cooled_by
--       6 running        sorted set: execution of the runbook by the millisecond in which its lock ends
--       7-11 counts      sorted sets: execution by the millisecond in which it stops to count; of the runbook in an
--                        hour, of the cluster in an hour, of the runbook in a minute, in a day, for this target
-- ARGV  1 'reserve', or 'peek' to look without reserving
--       2 execution id   3 tenant   4 cluster   5 runbook id   6 plan hash   7 approval id
--       8 provisional ms   9 permit ms
--       10 most executions of the runbook at the same time, -1 for no limit
--       11... for each count: name of its check, limit (-1 for none), window ms, how far back it looks in ms
-- Returns {'permit', token, expires ms, approval id}, {'clear'} (peek, nothing speaks against it), {'unprimed'},
--         {'again', used, limit, within ms} (only a human may do it again so soon), or {'refuse', check, name, value, ...}.
--         All values are text.

local KEEP_EXECUTION = 24 * 3600 * 1000
local KEEP_TARGET = 7 * 24 * 3600 * 1000

local primed, pause, place, execution, target = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local running = KEYS[6]
local counts = {}
for number = 0, 4 do
  local at = 11 + 4 * number
  counts[number + 1] = {key = KEYS[7 + number], check = ARGV[at], limit = tonumber(ARGV[at + 1]),
    window = tonumber(ARGV[at + 2]), within = tonumber(ARGV[at + 3])}
end
local id, plan = ARGV[2], ARGV[6]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Lua would print milliseconds as 1.7e+12.
local function text(number) return string.format('%.0f', number) end
local function refuse(check, ...) return {'refuse', check, ...} end

-- Members after a moment, without this execution itself: it must not stand in its own way.
local function counted(key, after)
  local used = redis.call('ZCOUNT', key, '(' .. text(after), '+inf')
  local own = redis.call('ZSCORE', key, id)
  if own and tonumber(own) > after then used = used - 1 end
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
local most = tonumber(ARGV[10])
if most >= 0 then
  local used = counted(running, now)
  if used >= most then return refuse('concurrent', 'used', text(used), 'limit', text(most)) end
end
local again = nil
for _, count in ipairs(counts) do
  if count.limit >= 0 then
    local used = counted(count.key, now + count.window - count.within)
    if used >= count.limit then
      if count.check ~= 'again' then
        return refuse(count.check, 'used', text(used), 'limit', text(count.limit))
      end
      again = {'again', text(used), text(count.limit), text(count.within)}
    end
  end
end
if again then return again end
if ARGV[1] == 'peek' then return {'clear'} end

-- The first write is one that a full store denies: nothing before it, so nothing is half done.
local token, expires, lapses = math.max(last + 1, now), now + tonumber(ARGV[9]), now + tonumber(ARGV[8])
redis.call('HSET', execution, 'state', 'provisional', 'plan', plan, 'token', text(token),
  'granted', text(now), 'expires', text(expires), 'approval', ARGV[7])
redis.call('PEXPIREAT', execution, text(now + KEEP_EXECUTION))
redis.call('HSET', place, 'tenant', ARGV[3], 'cluster', ARGV[4], 'runbook', ARGV[5])
redis.call('PEXPIREAT', place, text(now + KEEP_EXECUTION))
redis.call('HSET', target, 'holder', id, 'token', text(token), 'until', text(lapses))
redis.call('PEXPIREAT', target, text(lapses + KEEP_TARGET))
redis.call('ZREMRANGEBYSCORE', running, '-inf', text(now))
redis.call('ZADD', running, text(lapses), id)
redis.call('PEXPIREAT', running, text(lapses + KEEP_TARGET))
for _, count in ipairs(counts) do
  redis.call('ZREMRANGEBYSCORE', count.key, '-inf', text(now))
  -- A provisional entry stops to count by itself; a confirmed one of the same execution is kept.
  local own = tonumber(redis.call('ZSCORE', count.key, id) or '0')
  redis.call('ZADD', count.key, text(math.max(own, lapses)), id)
  redis.call('PEXPIREAT', count.key, text(now + count.window + KEEP_EXECUTION))
end
return {'permit', text(token), text(expires), ARGV[7]}
