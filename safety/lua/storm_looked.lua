-- Looks at the counts that hold a scope open, and closes it when they were low for long enough: safety.breaker.looked.
-- Or closes it because a person says so, and forgets what was counted.
--
-- KEYS  1 storm   2... the counts that hold it open, in the order of ARGV   (as in storm_heard.lua)
-- ARGV  1 scope   2 'look' or 'close'   3 how long it must be calm, ms   4... names of the counts
-- Returns {'closed', JSON of the scope} when this call closed it, {'gone'} when it is not open, {'changed'} when other
--         counts hold it open than those that are named, or {'open', JSON of the scope}.

local known = redis.call('HGET', KEYS[1], ARGV[1])
if not known then return {'gone'} end
local state = cjson.decode(known)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function text(number) return string.format('%.0f', number) end

local named = 0
for at = 4, #ARGV do
  if not state.hot[ARGV[at]] then return {'changed'} end
  named = named + 1
end
local holding = 0
for _ in pairs(state.hot) do holding = holding + 1 end
if holding ~= named then return {'changed'} end

if ARGV[2] == 'close' then
  for at = 4, #ARGV do redis.call('DEL', KEYS[at - 2]) end
  redis.call('HDEL', KEYS[1], ARGV[1])
  return {'closed', known}
end
local calm = true
for at = 4, #ARGV do
  local hot = state.hot[ARGV[at]]
  hot.count = redis.call('ZCOUNT', KEYS[at - 2], '(' .. text(now - hot.window), '+inf')
  calm = calm and hot.count < hot.lower
end
if not calm then
  state.calm = 0
elseif state.calm == 0 then
  state.calm = now
elseif now - state.calm >= tonumber(ARGV[3]) then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return {'closed', cjson.encode(state)}
end
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(state))
return {'open', cjson.encode(state)}
