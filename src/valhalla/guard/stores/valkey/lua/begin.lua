-- begin: dedup, policy, limits, claim and ledger line (stores/__init__.py is the table). q is
-- { verb, id, name, key, print, who, effect, keep, verdict, rerun?, track?, lease, ttl, tombstone, reason, policy,
--   parent, correlation, report?, takes, hold { expires_in, cap, quorum, payload, summary }, shown, teller }
local function begun(kind, met, id, generation, wait, limit, policies)
  return cmsgpack.pack({ kind, now, id or false, generation or 0, wait or false, limit or false, policies or false, met or false })
end

local function note(event, id, state, generation)
  return line(event, q[3], id, state, q[23], q[22], q[5], generation, q[15])
end

local function begin()
  local id, generation, key = q[2], 1, q[4] and P .. 'k:' .. q[3] .. ' ' .. q[4]
  local at = key and redis.call('GET', key)
  local met = at and load(at)
  if met then
    local state, same = met[STATE], met[PRINT] == q[5]
    -- the answer to this very request was lost on the way
    if met[OP] == mark and state == 'executing' then return begun('execute', false, met[ID], met[GEN]) end
    generation = met[GEN] + 1
    if gone(met) then
      met = nil
    elseif INDEX[state] == 'open' then
      if met[EXPIRES] and now >= met[EXPIRES] then
        enter(met, 'expired', 'expired', met[WHO])
      elseif same then
        return begun(state, met)
      elseif met[WHO] ~= q[6] then
        return begun('key_reuse', met)
      else
        enter(met, state == 'held' and 'superseded' or 'stale', 'superseded', met[WHO])
      end
    elseif not INDEX[state] and not settled(state) and state ~= 'denied' then
      -- released: nothing was done and nobody said no
      if state == 'not_done' and same then id = met[ID] end
    elseif not met[KEEP] and (settled(state) or state == 'denied') then
      id = q[2]
    elseif not same then
      return begun('key_reuse', met)
    elseif settled(state) then
      return begun('replay', met)
    elseif state == 'denied' then
      return begun('denied', met)
    elseif state == 'executing' and (not met[LEASE] or now < met[LEASE]) then
      return begun('in_progress', met, false, 0, met[LEASE] and math.min(1000000, met[LEASE] - now) or 1000000)
    elseif q[10] then
      id = met[ID]
    else
      if state == 'executing' then enter(met, 'indeterminate', 'lapsed', met[WHO]) end
      return begun('indeterminate', met)
    end
  end

  if q[9] == 'deny' then
    note('denied', id, 'denied', generation)
    return begun('denied')
  end
  local hold = q[9] == 'hold' and q[21]
  if hold and redis.call('SCARD', P .. 'h:' .. q[6]) >= hold[2] then return begun('capped') end
  local policies = false
  if q[20] and not hold then
    local taken, wait, limit
    taken, wait, limit, policies = take_all(q[20], q[19])
    if not taken then
      note('limited', id, 'denied', generation)
      return begun('limited', false, false, 0, wait, limit, policies)
    end
  end
  local became = hold and 'held' or 'executing'
  if key or q[11] then
    local row = {
      id, q[3], q[4], q[5], q[6], q[7], q[8], became, generation, 1, mark, now, now,
      not hold and now + q[12], hold and now + hold[1], q[13], q[14], false, false, q[15], false, q[16],
      hold and hold[3], false, hold and hold[4], hold and hold[5], q[17], q[18], q[22],
      id ~= q[2] and q[2],
    }
    if key then redis.call('SET', key, id) end
    save(row)
    index(row, met and met[ID] == id and met[STATE])
    if hold then redis.call('SADD', P .. 'h:' .. q[6], id) end
  end
  local number = note(hold and 'held' or 'begin', id, became, generation)
  -- what is over is dropped by those who come, a little each time
  if number % 32 == 0 then sweep(64) end
  return begun(hold and 'held' or 'execute', false, id, generation, false, false, policies)
end
