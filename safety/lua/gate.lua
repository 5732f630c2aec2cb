-- Asks for one execution: everything that needs the store's memory, in one atomic call.
-- Either all of it is reserved (target, rates) or nothing is written at all.
--
-- KEYS  1 primed         exists once the store was filled from the records (untagged)
--       2 pause          hash by, reason, at, until; exists while automation is paused (untagged)
--       3 place          hash tenant, cluster, runbook, namespaces: where an execution's keys are (untagged)
--       4 execution      hash state, plan, token, granted, expires, approval, blast
--       5 target         hash holder, token, until, cooling, cooled_by
--       6... counts      sorted sets, one for each bucket of the execution (see _counts.lua)
--       then flights     sorted sets, one for each of those that are live
--       last but one     pauses: hash of the pauses of a part, scope by JSON (untagged)
--       last             storm: hash of the scopes that a storm has stopped, by JSON
-- ARGV  1 'reserve', or 'peek' to look without reserving
--       2 execution id   3 tenant   4 cluster   5 runbook id   6 plan hash   7 approval id
--       8 provisional ms   9 permit ms   10 blast radius   11 namespaces, for the place
--       12 the buckets as JSON, in the order of their counts, those that are live first. Of each: memory (ms), 1 where it
--          is live, then limits: concurrent, blast, asks and how far back it looks in ms, and one pair for each rate:
--          limit, how far back it looks in ms. -1 is no limit
--       13 their names as JSON, read only for an answer that says them. Of each: axis, facts (further names and values for
--          a refusal), the check of concurrent, the checks of the rates
--       last where it acts, as JSON, read only while something is paused or stopped: tenant, cluster, runbook, target,
--          namespaces, storm (its scopes of the storm breaker)
-- Returns {'permit', token, expires ms, approval id}, {'clear'} (peek, nothing speaks against it), {'unprimed'},
--         {'again', axis, used, within ms, ...} (only a human may do it again so soon), or {'refuse', check, name, value, ...}.
--         All values are text.

local primed, pause, place, execution, target = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local pauses, storms = KEYS[#KEYS - 1], KEYS[#KEYS]
local id, plan, blast = ARGV[2], ARGV[6], tonumber(ARGV[10])
local now_text = text(now)

local function refuse(check, ...) return {'refuse', check, ...} end

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

if redis.call('EXISTS', pause, pauses, storms) > 0 then
  local where = cjson.decode(ARGV[#ARGV])
  local paused = pause_in_force(pause, pauses, where, now)
  if paused and paused[3] == '' then return refuse('pause', 'by', paused[1], 'reason', paused[2]) end
  if paused then return refuse('pause', 'by', paused[1], 'reason', paused[2], 'scope', paused[3]) end
  local stopped = #where.storm > 0 and redis.call('HMGET', storms, unpack(where.storm)) or {}
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

local MEMORY, LIVE, CONCURRENT, BLAST, ASKS, ASKS_WITHIN, RATES = 1, 2, 3, 4, 5, 6, 7
local buckets = cjson.decode(ARGV[12])
local member = known[6] and known[6] .. ':' .. id
for number, bucket in ipairs(buckets) do
  bucket.count = KEYS[5 + number]
  bucket.flight = bucket[LIVE] == 1 and KEYS[5 + #buckets + number]
end

-- How many executions of the bucket count; nothing where these are fewer than the limit for certain. An execution must
-- not stand in its own way: it is left out here, as below. One that the store does not know was not permitted within
-- the time for which it knows.
local function reached(bucket, limit, within)
  if limit < 0 then return nil end
  bucket.all = bucket.all or redis.call('ZCARD', bucket.count)
  if bucket.all < limit then return nil end
  bucket.waiting = bucket.waiting or redis.call('ZCOUNT', bucket.count, '-inf', '(-' .. now_text)
  local after = math.max(now - within, 0)
  local used = bucket.waiting + redis.call('ZCOUNT', bucket.count, '(' .. text(after), '+inf')
  if state or within > KEEP_EXECUTION then
    bucket.own = bucket.own or tonumber(redis.call('ZSCORE', bucket.count, id) or '0')
    if bucket.own < -now or bucket.own > after then used = used - 1 end
  end
  return used >= limit and used or nil
end
local function running(bucket)
  local used = redis.call('ZCOUNT', bucket.flight, '(' .. now_text, '+inf')
  local own = member and tonumber(redis.call('ZSCORE', bucket.flight, member) or '0') or 0
  if own > now then used = used - 1 end
  return used
end
local function in_flight(bucket)
  local sum = 0
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', bucket.flight, '(' .. now_text, '+inf')) do
    if one ~= member then sum = sum + blast_of(one) end
  end
  return sum
end
local function names_of(number) return cjson.decode(ARGV[13])[number] end

for number, bucket in ipairs(buckets) do
  local limit = bucket[CONCURRENT]
  if limit >= 0 then
    local used = running(bucket)
    if used >= limit then
      local names = names_of(number)
      return refuse(names[3], 'used', text(used), 'limit', text(limit), unpack(names[2]))
    end
  end
end
for number, bucket in ipairs(buckets) do
  for at = RATES, #bucket, 2 do
    local used = reached(bucket, bucket[at], bucket[at + 1])
    if used then
      local names = names_of(number)
      return refuse(names[4][1 + (at - RATES) / 2], 'used', text(used), 'limit', text(bucket[at]), unpack(names[2]))
    end
  end
end
for number, bucket in ipairs(buckets) do
  local limit = bucket[BLAST]
  -- The sum is never less than what is in flight: only where it would be too much, it is added up. A set that has none,
  -- because nothing in it affects anything, is added up as well.
  local sum = limit >= 0 and redis.call('ZSCORE', bucket.flight, 'sum')
  if limit >= 0 and not (sum and blast - tonumber(sum) <= limit) then
    local used = in_flight(bucket)
    if used + blast > limit then
      local names = names_of(number)
      return refuse('blast_in_flight', 'used', text(used), 'count', text(blast), 'limit', text(limit),
        'axis', names[1], unpack(names[2]))
    end
    bucket.sweep = true
  end
end
local again = {'again'}
for number, bucket in ipairs(buckets) do
  local used = reached(bucket, bucket[ASKS], bucket[ASKS_WITHIN])
  if used then
    for _, part in ipairs({names_of(number)[1], text(used), text(bucket[ASKS_WITHIN])}) do again[#again + 1] = part end
  end
end
if #again > 1 then return again end
if ARGV[1] == 'peek' then return {'clear'} end

-- The first write is one that a full store denies: nothing before it, so nothing is half done.
local token, expires, lapses = math.max(last + 1, now), now + tonumber(ARGV[9]), now + tonumber(ARGV[8])
local token_text, expires_text, kept_text = text(token), text(expires), text(now + KEEP_EXECUTION)
redis.call('HSET', execution, 'state', 'provisional', 'plan', plan, 'token', token_text, 'granted', now_text,
  'expires', expires_text, 'approval', ARGV[7], 'blast', ARGV[10])
redis.call('PEXPIREAT', execution, kept_text)
redis.call('HSET', place, 'tenant', ARGV[3], 'cluster', ARGV[4], 'runbook', ARGV[5], 'namespaces', ARGV[11])
redis.call('PEXPIREAT', place, kept_text)
redis.call('HSET', target, 'holder', id, 'token', token_text, 'until', text(lapses))
redis.call('PEXPIREAT', target, text(lapses + KEEP_TARGET))
-- What no longer counts is left out of every count anyway; clearing it away once in a while is enough.
local clear_away = now % 16 == 0
local waits, flights = '-' .. text(lapses), {}
for _, bucket in ipairs(buckets) do
  if clear_away then
    redis.call('ZREMRANGEBYSCORE', bucket.count, '-' .. now_text, text(math.max(now - bucket[MEMORY], 0)))
  end
  if redis.call('ZADD', bucket.count, 'NX', waits, id) == 0 then
    -- One that was confirmed before, and lost its target since, goes on to count, from now on.
    local before = tonumber(redis.call('ZSCORE', bucket.count, id))
    redis.call('ZADD', bucket.count, before > 0 and now_text or waits, id)
  end
  keep(bucket.count, bucket[MEMORY], KEEP_EXECUTION)
  if bucket.flight then
    if clear_away or bucket.sweep then sweep(bucket.flight) end
    flights[#flights + 1] = bucket.flight
  end
end
if member then let_go(flights, member) end
hold(flights, ARGV[10] .. ':' .. id, lapses)
return {'permit', token_text, expires_text, ARGV[7]}
