-- The governor's arithmetic (governor/rules.py) on whole microseconds. A limit arrives as
-- { bucket, name, exact?, most, units, interval, window, capacity, shadow? }.
local BUCKET, LIMIT, EXACT, MOST, UNITS, INTERVAL, WINDOW, CAPACITY, SHADOW = 1, 2, 3, 4, 5, 6, 7, 8, 9

-- what the requests of one batch take of a GCRA limit is read once and written once
local seen = {}

local function write_gcra(found)
  redis.call('SET', found.key, string.format('%.0f %.0f', found.tat, found.interval), 'PX',
    math.ceil((found.tat - now) / 1000) + 1)
end

local function bucket(spec)
  local found = seen[spec[BUCKET]]
  -- one of them may know another form of the limit
  if found and not spec[EXACT] and found.interval ~= spec[INTERVAL] then
    if found.dirty then write_gcra(found) end
    found = nil
  end
  if found then return found end
  found = { key = P .. 'l:' .. spec[BUCKET], taken = 0, interval = spec[INTERVAL] }
  if spec[EXACT] then
    found.size = redis.call('LLEN', found.key)
  else
    found.tat = now
    local text = redis.call('GET', found.key)
    if text then
      local tat, interval = string.match(text, '^(%d+) (%d+)$')
      tat, interval = tonumber(tat), tonumber(interval)
      -- a limit that was changed keeps its usage
      if interval ~= spec[INTERVAL] and tat > now then
        tat = now + math.ceil((tat - now) / interval * spec[INTERVAL])
        -- the old end of a bent bucket would come before the new one
        found.dirty = true
      end
      found.tat = math.max(tat, now)
    end
  end
  seen[spec[BUCKET]] = found
  return found
end

-- microseconds until the units are there: 0 or less is now, nothing is never
local function wait_for(found, spec)
  if spec[UNITS] > spec[MOST] then return nil end
  if not spec[EXACT] then
    return found.tat - now - (spec[MOST] - spec[UNITS]) * spec[INTERVAL]
  end
  local last = found.size + found.taken + spec[UNITS] - spec[CAPACITY]
  if last <= 0 then return 0 end
  if last > found.size then return spec[WINDOW] end
  return redis.call('LINDEX', found.key, last - 1) + spec[WINDOW] - now
end

local function charge(found, spec)
  if spec[EXACT] then
    found.spec, found.taken = spec, found.taken + spec[UNITS]
  else
    found.dirty = true
    found.tat = found.tat + spec[UNITS] * spec[INTERVAL]
  end
end

local function live(found, edge)
  local low, high = 0, found.size
  while low < high do
    local middle = math.floor((low + high) / 2)
    if tonumber(redis.call('LINDEX', found.key, middle)) <= edge then low = middle + 1 else high = middle end
  end
  return found.size - low
end

local function state(found, spec)
  if not spec[EXACT] then
    local ahead = found.tat - now
    return { spec[LIMIT], math.floor(spec[MOST] - ahead / spec[INTERVAL]), ahead }
  end
  local used, reset = live(found, now - spec[WINDOW]), 0
  if used > 0 then reset = redis.call('LINDEX', found.key, -1) + spec[WINDOW] - now end
  if found.taken > 0 then reset = spec[WINDOW] end
  return { spec[LIMIT], math.max(0, spec[CAPACITY] - used - found.taken), reset }
end

local function tell(policies, take)
  for _, spec in ipairs(take) do
    if not spec[SHADOW] then policies[#policies + 1] = state(bucket(spec), spec) end
  end
end

local function write_exact(found, spec)
  local spare = found.size + found.taken - spec[CAPACITY]
  -- stamps never descend, also when the server's clock went back: what is looked at is the oldest
  local newest = found.size > 0 and tonumber(redis.call('LINDEX', found.key, -1)) or 0
  if spare > 0 then redis.call('LTRIM', found.key, spare, -1) end
  local stamp, left = math.max(now, newest), found.taken
  while left > 0 do
    local some = {}
    for i = 1, math.min(left, 1000) do some[i] = stamp end
    redis.call('RPUSH', found.key, unpack(some))
    left = left - #some
  end
  redis.call('PEXPIRE', found.key, math.ceil((stamp + spec[WINDOW] - now) / 1000))
end

-- Keep what a request was charged, or take it back. Exact limits are written at once: their stamps are not held here.
local function settle(charged, kept)
  for _, spec in ipairs(charged) do
    local found = seen[spec[BUCKET]]
    if not spec[EXACT] then
      if not kept then found.tat = found.tat - spec[UNITS] * spec[INTERVAL] end
    elseif found then
      seen[spec[BUCKET]] = nil
      if kept then write_exact(found, found.spec) end
    end
  end
end

-- Charge all takes or none. Return whether, and of a refusal the microseconds to wait and the limit's name; then what
-- every limit says, if that is wanted or there is a refusal. A resource without limits is unknown: nothing of it is given.
local function take_all(takes, report)
  local policies, charged = {}, {}
  for _, take in ipairs(takes) do
    local longest, by, never, chosen = 0, #take == 0 and '', #take == 0, {}
    for _, spec in ipairs(take) do
      local found = bucket(spec)
      local wait = wait_for(found, spec)
      if wait and wait <= 0 then
        chosen[#chosen + 1] = spec
      elseif not spec[SHADOW] and not never and (not wait or wait > longest) then
        never, by, longest = not wait, spec[LIMIT], wait or 0
      end
    end
    if by then
      tell(policies, take)
      settle(charged, false)
      return false, not never and longest, by ~= '' and by, policies
    end
    for _, spec in ipairs(chosen) do
      charge(bucket(spec), spec)
      charged[#charged + 1] = spec
    end
    if report then tell(policies, take) end
  end
  settle(charged, true)
  return true, false, false, policies
end

local function write_charges()
  for _, found in pairs(seen) do
    if found.dirty then write_gcra(found) end
  end
end
