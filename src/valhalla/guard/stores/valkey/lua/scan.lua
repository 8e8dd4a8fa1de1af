-- scan: rows or ledger lines, oldest first. q is { verb, kind, id, name, key, who, after, limit }.
q = cmsgpack.unpack(ARGV[2])
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

local function matches(row)
  if (q[4] and row[NAME] ~= q[4]) or (q[6] and row[WHO] ~= q[6]) then return false end
  if kind == 'approved' then return row[STATE] == 'approved' end
  if kind == 'overdue' then return row[EXPIRES] and row[EXPIRES] <= now end
  return kind ~= 'lapsed' or (row[LEASE] and row[LEASE] <= now)
end

-- so many rows are looked at in one step, while everybody else waits
local most, seen, found, place = 2000, 0, {}, q[7] or 0
local WHERE = { open = 'open', approved = 'open', overdue = 'open', lapsed = 'run', indeterminate = 'unknown' }

-- Each turn gives the next ids with their places. All rows are those that the ledger still tells of: no index of all is
-- kept, which every call would pay for.
local function next_ids()
  local ids = {}
  if kind ~= 'all' then
    local pairs_ = redis.call('ZRANGE', P .. 'x:' .. WHERE[kind], '(' .. string.format('%.0f', place), '+inf', 'BYSCORE',
      'LIMIT', 0, 100, 'WITHSCORES')
    for i = 1, #pairs_, 2 do ids[#ids + 1] = { pairs_[i], tonumber(pairs_[i + 1]) } end
    return ids
  end
  for _, entry in ipairs(redis.call('XRANGE', P .. 'ledger', '(0-' .. place, '+', 'COUNT', 100)) do
    local told = cmsgpack.unpack(entry[2][2])
    ids[#ids + 1] = { told[4], tonumber(string.sub(entry[1], 3)), (told[2] == 'begin' or told[2] == 'held') and told[9] }
  end
  return ids
end

while seen < most and #found < limit do
  local ids = next_ids()
  for _, entry in ipairs(ids) do
    local row = load(entry[1])
    place, seen = entry[2], seen + 1
    -- of several lines about a row the one of its present beginning counts
    if row and matches(row) and (kind ~= 'all' or row[GEN] == entry[3]) then found[#found + 1] = row end
    if #found == limit then break end
  end
  if #ids == 0 then return cmsgpack.pack({ now, found, {}, false }) end
end
return cmsgpack.pack({ now, found, {}, place })
