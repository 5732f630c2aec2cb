-- Whether automation is paused, for everything or for one execution.
--
-- KEYS  1 primed   2 pause   3 pauses   (as in gate.lua)
-- ARGV  1 where the execution acts, as JSON (as in gate.lua); '' to look at the pause of everything alone
-- Returns {'paused', by, reason, scope ('' for everything)}, {'clear'}, or {'unprimed'}: an
--         emptied store has forgotten.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local found = pause_in_force(KEYS[2], KEYS[3], ARGV[1] ~= '' and cjson.decode(ARGV[1]) or nil, now)
if found then return {'paused', found[1], found[2], found[3]} end
if redis.call('EXISTS', KEYS[1]) == 0 then return {'unprimed'} end
return {'clear'}
