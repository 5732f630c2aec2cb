-- Asks for one execution: everything that needs the store's memory, in one atomic call.
-- Either all of it is reserved (target, rates) or nothing is written at all.
--
-- KEYS  1 primed         exists once the store was filled from the records (untagged)
--       2 pause          hash by, reason, at; exists while automation is paused (untagged)
--       3 place          hash tenant, cluster, runbook, namespaces: where an execution's keys are (untagged)
--       4 execution      hash state, plan, token, granted, expires, approval, blast
--       5 target         hash holder, token, until, cooling, cooled_by
--       6... counts      sorted sets, one for each bucket of the execution (see _counts.lua)
--       then lives       sorted sets, one for each of those that are live
--       last but one     pauses: hash of the pauses of a part, scope by JSON (untagged)
--       last             storm: hash of the scopes that a storm has stopped, by JSON
-- ARGV  1 'reserve', or 'peek' to look without reserving
--       2 execution id   3 tenant   4 cluster   5 runbook id   6 plan hash   7 approval id
--       8 provisional ms   9 permit ms   10 blast radius   11 namespaces, for the place
--       12 the buckets as JSON, in the order of their counts, those that are live first: memory (ms), live,
--          rates [check, limit, how far back it looks in ms], concurrent [check, limit], blast (limit), asks [limit,
--          how far back it looks in ms], axis, facts (further names and values for a refusal); what has no limit is left out
--       last where it acts, as JSON: tenant, cluster, runbook, target, namespaces, storm (its scopes of the storm breaker)
-- Returns {'permit', token, expires ms, approval id}, {'clear'} (peek, nothing speaks against it), {'unprimed'},
--         {'again', axis, used, within ms, ...} (only a human may do it again so soon), or {'refuse', check, name, value, ...}.
--         All values are text.

local primed, pause, place, execution, target = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, plan, blast = ARGV[2], ARGV[6], tonumber(ARGV[10])
local buckets = cjson.decode(ARGV[12])
for number, bucket in ipairs(buckets) do
  bucket.count = KEYS[5 + number]
  if bucket.live then bucket.lives = KEYS[5 + #buckets + number] end
end

local function refuse(check, ...) return {'refuse', check, ...} end

-- An execution must not stand in its own way: these leave it out.
local function counted(bucket, within)
  local after = now - within
  local used = redis.call('ZCOUNT', bucket.count, '(' .. text(math.max(after, 0)), '+inf')
    + redis.call('ZCOUNT', bucket.count, '-inf', '(-' .. text(now))
  local own = tonumber(redis.call('ZSCORE', bucket.count, id) or '0')
  if own < -now or own > math.max(after, 0) then used = used - 1 end
  return used
end
local function running(bucket, member)
  local used = redis.call('ZCOUNT', bucket.lives, '(' .. text(now), '+inf')
  local own = member and tonumber(redis.call('ZSCORE', bucket.lives, member) or '0') or 0
  if own > now then used = used - 1 end
  return used
end
local function in_flight(bucket, member)
  local sum = 0
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', bucket.lives, '(' .. text(now), '+inf')) do
    if one ~= member then sum = sum + tonumber(string.match(one, '^%d+')) end
  end
  return sum
end

if redis.call('EXISTS', primed) == 0 then return {'unprimed'} end

local known = redis.call('HMGET', execution, 'state', 'plan', 'token', 'expires', 'approval', 'blast')
local lock = redis.call('HMGET', target, 'holder', 'token', 'until', 'cooling', 'cooled_by')
local state, holder, last = known[1], lock[1], tonumber(lock[2] or '0')
local held = holder and holder ~= '' and tonumber(lock[3]) > now
local mine = held and holder == id

if state == 'spent' then return refuse('used', 'execution', id) end
if state and (mine or state == 'confirmed') and known[2] ~= plan then
  return refuse('plan_changed', 'permitted', known[2], 'asked', plan)
end
if state and mine then return {'permit', known[3], known[4], known[5]} end

local where = cjson.decode(ARGV[#ARGV])
local paused = pause_in_force(pause, KEYS[#KEYS - 1], where, now)
if paused and paused[3] == '' then return refuse('pause', 'by', paused[1], 'reason', paused[2]) end
if paused then return refuse('pause', 'by', paused[1], 'reason', paused[2], 'scope', paused[3]) end
if #where.storm > 0 then
  local stopped = redis.call('HMGET', KEYS[#KEYS], unpack(where.storm))
  for at, text_of in ipairs(stopped) do
    if text_of then
      local storm = cjson.decode(text_of)
      return refuse('storm', 'scope', where.storm[at], 'counted', storm.counted, 'of', storm.of,
        'count', text(storm.count), 'limit', text(storm.upper), 'window_seconds', text(storm.window / 1000))
    end
  end
end
if held then
  return refuse('lock', 'holder', holder, 'token', text(last), 'ms_left', text(tonumber(lock[3]) - now))
end
local cooling = tonumber(lock[4] or '0')
if cooling > now then
  return refuse('cooldown', 'after', lock[5] or '', 'ms_left', text(cooling - now))
end
local member = known[6] and known[6] .. ':' .. id
for _, bucket in ipairs(buckets) do
  if bucket.concurrent then
    local check, limit = unpack(bucket.concurrent)
    local used = running(bucket, member)
    if used >= limit then return refuse(check, 'used', text(used), 'limit', text(limit), unpack(bucket.facts)) end
  end
end
for _, bucket in ipairs(buckets) do
  for _, rate in ipairs(bucket.rates) do
    local check, limit, within = unpack(rate)
    local used = counted(bucket, within)
    if used >= limit then return refuse(check, 'used', text(used), 'limit', text(limit), unpack(bucket.facts)) end
  end
end
for _, bucket in ipairs(buckets) do
  if bucket.blast then
    local used = in_flight(bucket, member)
    if used + blast > bucket.blast then
      return refuse('blast_in_flight', 'used', text(used), 'count', text(blast), 'limit', text(bucket.blast),
        'axis', bucket.axis, unpack(bucket.facts))
    end
  end
end
local again = {'again'}
for _, bucket in ipairs(buckets) do
  if bucket.asks then
    local limit, within = unpack(bucket.asks)
    local used = counted(bucket, within)
    if used >= limit then
      for _, part in ipairs({bucket.axis, text(used), text(within)}) do again[#again + 1] = part end
    end
  end
end
if #again > 1 then return again end
if ARGV[1] == 'peek' then return {'clear'} end

-- The first write is one that a full store denies: nothing before it, so nothing is half done.
local token, expires, lapses = math.max(last + 1, now), now + tonumber(ARGV[9]), now + tonumber(ARGV[8])
redis.call('HSET', execution, 'state', 'provisional', 'plan', plan, 'token', text(token), 'granted', text(now),
  'expires', text(expires), 'approval', ARGV[7], 'blast', text(blast))
redis.call('PEXPIREAT', execution, text(now + KEEP_EXECUTION))
redis.call('HSET', place, 'tenant', ARGV[3], 'cluster', ARGV[4], 'runbook', ARGV[5], 'namespaces', ARGV[11])
redis.call('PEXPIREAT', place, text(now + KEEP_EXECUTION))
redis.call('HSET', target, 'holder', id, 'token', text(token), 'until', text(lapses))
redis.call('PEXPIREAT', target, text(lapses + KEEP_TARGET))
for _, bucket in ipairs(buckets) do
  redis.call('ZREMRANGEBYSCORE', bucket.count, '-' .. text(now), text(math.max(now - bucket.memory, 0)))
  -- One that was confirmed before, and lost its target since, goes on to count, from now on.
  local before = tonumber(redis.call('ZSCORE', bucket.count, id) or '0')
  redis.call('ZADD', bucket.count, before > 0 and text(now) or '-' .. text(lapses), id)
  redis.call('PEXPIREAT', bucket.count, text(now + bucket.memory + KEEP_EXECUTION))
  if bucket.lives then
    redis.call('ZREMRANGEBYSCORE', bucket.lives, '-inf', text(now))
    if member then redis.call('ZREM', bucket.lives, member) end
  end
end
for _, bucket in ipairs(buckets) do
  if bucket.lives then hold({bucket.lives}, text(blast) .. ':' .. id, lapses) end
end
return {'permit', text(token), text(expires), ARGV[7]}
