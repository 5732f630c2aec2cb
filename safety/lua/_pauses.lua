-- Put in front of the scripts that look at pauses. `where` is a table: tenant, cluster, runbook, target, namespaces.
-- Returns the by, reason and scope ('' for everything) of a pause that is in force there, or nil.

local function pause_in_force(pause, pauses, where, now)
  local all = redis.call('HMGET', pause, 'by', 'reason', 'until')
  if all[1] and not (all[3] and all[3] ~= '' and tonumber(all[3]) <= now) then return {all[1], all[2] or '', ''} end
  if where == nil then return nil end
  local listed = redis.call('HGETALL', pauses)
  for at = 1, #listed, 2 do
    local one = cjson.decode(listed[at + 1])
    local covers = not (one['until'] and one['until'] > 0 and one['until'] <= now)
    for name, value in pairs(one.scope) do
      if name == 'namespace' then
        local inside = false
        for _, namespace in ipairs(where.namespaces) do inside = inside or namespace == value end
        covers = covers and inside
      else
        covers = covers and where[name] == value
      end
    end
    if covers then return {one.by, one.reason, one.said} end
  end
  return nil
end

