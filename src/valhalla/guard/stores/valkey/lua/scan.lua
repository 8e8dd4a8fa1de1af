-- scan: rows or ledger lines, oldest first. q is { ledger, kind, id, name, key, who, after, limit }.
local kind, limit = q[2], q[8]
if kind == 'ledger' then
  local lines = {}
  for _, entry in ipairs(redis.call('XRANGE', P .. 'ledger', '(0-' .. string.format('%.0f', q[7] or 0), '+', 'COUNT', limit)) do
    lines[#lines + 1] = { tonumber(string.sub(entry[1], 3)), entry[2][2] }
  end
  return cmsgpack.pack({ now, {}, lines, #lines == limit and lines[#lines][1] or false })
end
if kind == 'id' or kind == 'key' then
  local id = kind == 'id' and q[3] or redis.call('GET', P .. 'k:' .. q[4] .. ' ' .. q[5])
  local row = id and load(id)
  if row and kind == 'key' and gone(row) then row = nil end
  return cmsgpack.pack({ now, { row or nil }, {}, false })
end

local WHERE = { open = 'open', approved = 'open', overdue = 'open', lapsed = 'run', indeterminate = 'unknown', all = 'all' }
local function matches(row)
  if (q[4] and row[NAME] ~= q[4]) or (q[6] and row[WHO] ~= q[6]) then return false end
  if kind == 'approved' then return row[STATE] == 'approved' end
  if kind == 'overdue' then return row[EXPIRES] and row[EXPIRES] <= now end
  return kind ~= 'lapsed' or (row[LEASE] and row[LEASE] <= now)
end

-- so many rows are looked at in one step, while everybody else waits
local most, seen, found, place = 2000, 0, {}, q[7] and '(' .. string.format('%.0f', q[7]) or '-inf'
while seen < most and #found < limit do
  local ids = redis.call('ZRANGE', P .. 'x:' .. WHERE[kind], place, '+inf', 'BYSCORE', 'LIMIT', 0, 100, 'WITHSCORES')
  for i = 1, #ids, 2 do
    local row = load(ids[i])
    place, seen = '(' .. ids[i + 1], seen + 1
    if row and matches(row) then found[#found + 1] = row end
    if #found == limit then break end
  end
  if #ids == 0 then return cmsgpack.pack({ now, found, {}, false }) end
end
return cmsgpack.pack({ now, found, {}, tonumber(string.sub(place, 2)) })
