-- Who tells people of a storm: one process at a time, once at its beginning and once at its end.
--
-- KEYS  1 storm   2 tenants   (as in storm_heard.lua)
--       3 call        hash told, since, lease: whether people were told of the storm
--       4 held back   hash: what was kept from people by how often
-- ARGV  1 tenant   2 'due', 'told' or 'failed'   3 lease ms: for so long nobody else tells them
-- Returns {'nothing'}, {'begin' or 'end', since ms, kind, how often, ...} from 'due', else {'ok'}.
-- After 'told' of a beginning the storm is told; after that of its end nothing is left of it.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function text(number) return string.format('%.0f', number) end

local stopped = redis.call('HGETALL', KEYS[1])
local call = redis.call('HMGET', KEYS[3], 'told', 'since', 'lease', 'doing')

if ARGV[2] == 'failed' then
  redis.call('HDEL', KEYS[3], 'lease', 'doing')
  return {'ok'}
end
if ARGV[2] == 'told' then
  if call[4] == 'end' then
    redis.call('DEL', KEYS[3], KEYS[4])
    if #stopped == 0 then redis.call('SREM', KEYS[2], ARGV[1]) end
  else
    redis.call('HSET', KEYS[3], 'told', '1')
    redis.call('HDEL', KEYS[3], 'lease', 'doing')
  end
  return {'ok'}
end

if call[3] and tonumber(call[3]) > now then return {'nothing'} end
local doing = nil
if #stopped > 0 and not call[1] then doing = 'begin' end
if #stopped == 0 and call[1] then doing = 'end' end
if not doing then
  -- It was over before anybody could be told: there is nothing to tell.
  if #stopped == 0 and not call[1] then
    redis.call('DEL', KEYS[3], KEYS[4])
    redis.call('SREM', KEYS[2], ARGV[1])
  end
  return {'nothing'}
end
local since = tonumber(call[2] or '0')
if since == 0 then
  since = now
  for at = 2, #stopped, 2 do since = math.min(since, cjson.decode(stopped[at]).since) end
end
redis.call('HSET', KEYS[3], 'since', text(since), 'doing', doing, 'lease', text(now + tonumber(ARGV[3])))
local told = {doing, text(since)}
for _, part in ipairs(redis.call('HGETALL', KEYS[4])) do told[#told + 1] = part end
return told
