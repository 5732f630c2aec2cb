-- Put in front of the scripts of the gate: the server's time, and the sorted sets that executions are counted in.
-- An execution has a bucket on each axis (its runbook, namespaces, cluster, tenant, target, ...), with these keys:
--
-- count   execution by the millisecond in which it was permitted; a provisional one by minus the millisecond in which it
--         lapses, so that it counts for every window until then, and for none afterwards
-- flight  '<blast radius>:<execution>' by the millisecond in which its lock ends; the buckets of targets have none.
--         Beside these, 'sum' by minus the sum of the blast radii of all of them, also of those whose lock has ended:
--         never less than what is in flight, so that usually nobody has to add it up
--
-- The keys of an execution stand in KEYS as: its counts, then its flights.

local KEEP_EXECUTION = 24 * 3600 * 1000
local KEEP_TARGET = 7 * 24 * 3600 * 1000

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Lua would print milliseconds as 1.7e+12.
local function text(number) return string.format('%.0f', number) end

-- The keys from one number to another.
local function keys_of(first, last)
  local found = {}
  for number = first, last do found[#found + 1] = KEYS[number] end
  return found
end

-- The key stays for so long, and for half of `spare` to all of it longer: moving its end each time would be a write for
-- each key of each execution.
local function keep(key, ms, spare)
  if redis.call('PTTL', key) < ms + spare / 2 then redis.call('PEXPIREAT', key, text(now + ms + spare)) end
end

-- It counts from the moment in which it was permitted.
local function settle(counts, id, granted)
  for _, key in ipairs(counts) do redis.call('ZADD', key, text(granted), id) end
end

-- It never counted.
local function forget(counts, id)
  for _, key in ipairs(counts) do redis.call('ZREM', key, id) end
end

-- The blast radius of a member of a flight.
local function blast_of(member) return tonumber(string.match(member, '^%d+')) end

local function add_to_sum(key, blast)
  if blast ~= 0 then redis.call('ZINCRBY', key, text(-blast), 'sum') end
end

-- It holds its target until then.
local function hold(flights, member, ends)
  local blast, moment = blast_of(member), text(ends)
  for _, key in ipairs(flights) do
    if redis.call('ZADD', key, moment, member) == 1 then add_to_sum(key, blast) end
    keep(key, ends - now, KEEP_TARGET)
  end
end

-- It no longer does.
local function let_go(flights, member)
  for _, key in ipairs(flights) do
    if redis.call('ZREM', key, member) == 1 then add_to_sum(key, -blast_of(member)) end
  end
end

-- Forgets those whose lock has ended.
local function sweep(flight)
  local ended, blast = redis.call('ZRANGEBYSCORE', flight, '(0', text(now)), 0
  if #ended == 0 then return end
  for _, member in ipairs(ended) do blast = blast + blast_of(member) end
  redis.call('ZREMRANGEBYSCORE', flight, '(0', text(now))
  add_to_sum(flight, -blast)
end
