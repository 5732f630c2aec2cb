-- Put in front of the scripts of the gate: the server's time, and the sorted sets that executions are counted in.
-- An execution has a bucket on each axis (its runbook, namespaces, cluster, tenant, target, ...), with these keys:
--
-- count  execution by the millisecond in which it was permitted; a provisional one by minus the millisecond in which it
--        lapses, so that it counts for every window until then, and for none afterwards
-- live   '<blast radius>:<execution>' by the millisecond in which its lock ends; the buckets of targets have none
--
-- The keys of an execution stand in KEYS as: its counts, then its lives.

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

-- It counts from the moment in which it was permitted.
local function settle(counts, id, granted)
  for _, key in ipairs(counts) do redis.call('ZADD', key, text(granted), id) end
end

-- It holds its target until then.
local function hold(lives, member, ends)
  for _, key in ipairs(lives) do
    redis.call('ZADD', key, text(ends), member)
    redis.call('PEXPIREAT', key, text(ends + KEEP_TARGET))
  end
end

-- It no longer does.
local function let_go(lives, member)
  for _, key in ipairs(lives) do redis.call('ZREM', key, member) end
end

