-- cas: change one row if it still is what the request says. q is
-- { verb, id, sources, to, event, who, generation, version, when, takes, lease, expires_in, ttl, tombstone, patch,
--   durable?, brief? }; patch is { place, value, place, value, ... }
local function swapped(kind, row, wait, limit, policies)
  return cmsgpack.pack({ kind, now, wait or false, limit or false, policies or false, row or false })
end

local function holds_still(row, from)
  local known = false
  for _, state in ipairs(q[3]) do known = known or state == from end
  if not known or (q[7] and row[GEN] ~= q[7]) or (q[8] and row[VER] ~= q[8]) then return false end
  local expires = row[EXPIRES]
  if q[9] == 'unexpired' then return not expires or now < expires end
  if q[9] == 'expired' then return expires and now >= expires end
  return q[9] ~= 'lapsed' or (row[LEASE] and now >= row[LEASE])
end

local function cas()
  local row = load(q[2])
  if not row then return swapped('absent') end
  -- the answer to this very request was lost on the way
  if row[OP] == mark then return swapped('done', row) end

  local from = row[STATE]

  if not holds_still(row, from) then return swapped('missed', row) end
  if q[4] == 'executing' and from ~= 'executing' and row[EFFECT] == 'irreversible' and not q[16] then
    return swapped('volatile', row)
  end
  local policies = false
  if q[10] then
    local taken, wait, limit
    taken, wait, limit, policies = take_all(q[10], false)
    if not taken then return swapped('limited', row, wait, limit, policies) end
  end
  for i = 1, #q[15], 2 do row[q[15][i]] = q[15][i + 1] end
  if q[12] then row[EXPIRES] = now + q[12] end
  if q[13] then row[TTL] = q[13] end
  if q[14] then row[TOMB] = q[14] end
  if q[11] then row[LEASE] = now + q[11] end
  row[OP] = mark
  enter(row, q[4], q[5], q[6])
  -- who sent a result needs no copy of it
  for i = 1, #q[15], 2 do
    if q[15][i] == VALUE then row[VALUE] = false end
  end
  return swapped('done', not q[17] and row, false, false, policies)
end
