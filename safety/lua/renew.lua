-- Extends the lock of a running execution on its target.
--
-- KEYS  1 execution   2 target   3 place   4... counts, flights   (as in gate.lua)
-- ARGV  1 execution id   2 how many counts there are   3 lease ms
--       4 token (the epoch of the holder; grows when another process takes the execution over)
-- Returns 'held', or 'lost' when somebody else holds or held the target since, or the execution was released.
--         An execution that the store does not know, with nobody else on the target, is 'held': Neo4j is the truth.

local id, token = ARGV[1], tonumber(ARGV[4])
local known = redis.call('HMGET', KEYS[1], 'state', 'granted', 'blast')
local lock = redis.call('HMGET', KEYS[2], 'holder', 'token', 'until')
local held = lock[1] and lock[1] ~= '' and tonumber(lock[3]) > now
if known[1] == 'spent' then return 'lost' end
if held and lock[1] ~= id then return 'lost' end
-- An older token belongs to a holder that was succeeded, be it by another process of the same execution.
if token < tonumber(lock[2] or '0') then return 'lost' end
if not known[1] then return 'held' end

local ends = math.max(now + tonumber(ARGV[3]), held and tonumber(lock[3]) or 0)
redis.call('HSET', KEYS[2], 'holder', id, 'token', text(token), 'until', text(ends))
redis.call('PEXPIREAT', KEYS[2], text(ends + KEEP_TARGET))
redis.call('HSET', KEYS[1], 'token', text(token))
redis.call('PEXPIREAT', KEYS[1], text(now + KEEP_EXECUTION))
redis.call('PEXPIREAT', KEYS[3], text(now + KEEP_EXECUTION))
hold(keys_of(4 + tonumber(ARGV[2]), #KEYS), (known[3] or '0') .. ':' .. id, ends)
if known[1] == 'provisional' then
  -- It runs, so its decision is durable; only the confirmation got lost.
  redis.call('HSET', KEYS[1], 'state', 'confirmed')
  settle(keys_of(4, 3 + tonumber(ARGV[2])), id, tonumber(known[2]))
end
return 'held'
