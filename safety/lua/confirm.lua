-- Turns a provisional reservation into a confirmed one, once its decision is durable.
--
-- KEYS  1 execution   2 target   3 running   4-8 counts   (as in gate.lua)
-- ARGV  1 execution id   2 lease ms   3-7 windows of the counts in ms
-- Returns 'ok', or 'lost' when the reservation lapsed: then its decision must not be published, but asked for again.

local KEEP_TARGET = 7 * 24 * 3600 * 1000

local id = ARGV[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function text(number) return string.format('%.0f', number) end

local known = redis.call('HMGET', KEYS[1], 'state', 'granted', 'expires')
if not known[1] then return 'lost' end
if known[1] ~= 'provisional' then return 'ok' end
local lock = redis.call('HMGET', KEYS[2], 'holder', 'until')
if lock[1] ~= id or tonumber(lock[2]) <= now then return 'lost' end

-- Whoever redeems the permit in its last moment still has a whole lease to say so.
local ends = tonumber(known[3]) + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'state', 'confirmed')
redis.call('HSET', KEYS[2], 'until', text(ends))
redis.call('PEXPIREAT', KEYS[2], text(ends + KEEP_TARGET))
redis.call('ZADD', KEYS[3], text(ends), id)
redis.call('PEXPIREAT', KEYS[3], text(ends + KEEP_TARGET))
for number = 4, 8 do
  redis.call('ZADD', KEYS[number], text(tonumber(known[2]) + tonumber(ARGV[number - 1])), id)
end
return 'ok'
