-- Adds to one count of the storm breaker, and opens its scope when the count passes its upper limit: safety.breaker.heard.
--
-- KEYS  1 count     sorted set: who was seen by the millisecond of the last time
--       2 storm     hash of the scopes that are stopped, by JSON
--       3 tenants   set of the tenants for whom something is stopped, or a last message is due (untagged)
-- ARGV  1 tenant   2 scope   3 what is counted   4 of which cause   5 upper limit   6 lower limit   7 window ms
--       8... who was seen
-- Returns {'closed'}, {'stays'}, or {'opened', JSON of the scope}.

local scope, counted, of = ARGV[2], ARGV[3], ARGV[4]
local upper, lower, window = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function text(number) return string.format('%.0f', number) end

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - window))
for at = 8, #ARGV do redis.call('ZADD', KEYS[1], text(now), ARGV[at]) end
redis.call('PEXPIREAT', KEYS[1], text(now + window))
local count = redis.call('ZCARD', KEYS[1])

local key, known = counted .. ':' .. of, redis.call('HGET', KEYS[2], scope)
local hot = {count = count, upper = upper, lower = lower, window = window}
if not known then
  if count <= upper then return {'closed'} end
  local opened = cjson.encode({since = now, calm = 0, counted = counted, of = of, count = count, upper = upper,
    window = window, hot = {[key] = hot}})
  redis.call('HSET', KEYS[2], scope, opened)
  redis.call('SADD', KEYS[3], ARGV[1])
  return {'opened', opened}
end
local state = cjson.decode(known)
if count <= upper and not state.hot[key] then return {'stays'} end
state.hot[key] = hot
if count >= lower then state.calm = 0 end
redis.call('HSET', KEYS[2], scope, cjson.encode(state))
return {'stays'}
