-- What all scripts share. KEYS[1] is the tenant's prefix with its hash tag: every key a script touches begins with it,
-- so all of them are in one slot. A row is one string (an array by cmsgpack): one read, one write, a third of a hash's
-- memory. `false` stands for nothing, because an array with holes has no end.
local P = KEYS[1]
local q = cmsgpack.unpack(ARGV[1])
local clock = redis.call('TIME')
-- whole microseconds: they fit in a double exactly until the year 2255
local now = clock[1] * 1000000 + clock[2]

local ID, NAME, KEY, PRINT, WHO, EFFECT, KEEP, STATE, GEN, VER, OP, MADE, CHANGED, LEASE, EXPIRES, TTL, TOMB, VALUE =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
local REASON, SHOWN = 20, 29
local OPEN = { held = true, approved = true }
local SETTLED = { succeeded = true, failed = true }
local RELEASED = { not_done = true, expired = true, cancelled = true, superseded = true, stale = true }
local INDEX = { held = 'open', approved = 'open', executing = 'run', indeterminate = 'unknown' }

local function load(id)
  local text = redis.call('GET', P .. 'r:' .. id)
  return text and cmsgpack.unpack(text)
end

local function pointer(row)
  return row[KEY] and P .. 'k:' .. row[NAME] .. ' ' .. row[KEY]
end

local function value_until(row)
  return SETTLED[row[STATE]] and row[CHANGED] + row[TTL]
end

-- when the row is dropped; nothing while somebody may still have to act on it
local function keep_until(row)
  local state = row[STATE]
  if SETTLED[state] then return row[CHANGED] + row[TTL] + row[TOMB] end
  return (state == 'denied' or RELEASED[state]) and row[CHANGED] + row[TTL]
end

local function gone(row)
  local till = keep_until(row)
  return till and till <= now
end

local function millis(micros)
  return string.format('%.0f', math.ceil(micros / 1000))
end

local function line(event, name, id, state, who, shown, print, generation, reason)
  -- '0-*' numbers the lines one by one, so that a reader sees what was trimmed
  local entry = redis.call('XADD', P .. 'ledger', 'MAXLEN', '~', q[1], '0-*', 'l',
    cmsgpack.pack({ now, event, name, id, state, who, shown, print, generation, reason }))
  return tonumber(string.sub(entry, 3))
end

local function save(row)
  local till = keep_until(row)
  local text = cmsgpack.pack(row)
  if till then
    redis.call('SET', P .. 'r:' .. row[ID], text, 'PXAT', millis(till))
  else
    redis.call('SET', P .. 'r:' .. row[ID], text)
  end
end

local function index(row, before)
  local was, is = before and (INDEX[before] or 'end'), INDEX[row[STATE]] or 'end'
  if was and was ~= is then redis.call('ZREM', P .. 'x:' .. was, row[ID]) end
  if is == 'end' then
    -- by the instant at which there is something to drop
    local due = row[VALUE] and value_until(row) or keep_until(row)
    redis.call('ZADD', P .. 'x:end', string.format('%.0f', due), row[ID])
  elseif was ~= is then
    redis.call('ZADD', P .. 'x:' .. is, string.format('%.0f', row[MADE]), row[ID])
  end
end

-- move a row to another state; who calls has checked that it may be
local function enter(row, to, event, who)
  local before = row[STATE]
  local answered = before ~= to and pointer(row)
  if OPEN[before] ~= OPEN[to] then
    redis.call(OPEN[to] and 'SADD' or 'SREM', P .. 'h:' .. row[WHO], row[ID])
  end
  row[VER] = row[VER] + 1
  row[CHANGED] = now
  row[STATE] = to
  save(row)
  if before ~= to or not INDEX[to] then index(row, before) end
  if answered and redis.call('GET', answered) == row[ID] then
    local till = keep_until(row)
    if till then
      redis.call('PEXPIREAT', answered, millis(till))
    else
      redis.call('PERSIST', answered)
    end
  end
  return event and line(event, row[NAME], row[ID], to, who, row[SHOWN], row[PRINT], row[GEN], row[REASON])
end

-- drop up to `count` rows and results whose time is over; return how many
local function sweep(count)
  local ids = redis.call('ZRANGE', P .. 'x:end', '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, count)
  for _, id in ipairs(ids) do
    local row = load(id)
    if not row or gone(row) then
      redis.call('ZREM', P .. 'x:end', id)
      redis.call('ZREM', P .. 'x:all', id)
      redis.call('DEL', P .. 'r:' .. id)
      local key = row and pointer(row)
      if key and redis.call('GET', key) == id then redis.call('DEL', key) end
    else
      row[VALUE] = false
      save(row)
      index(row, row[STATE])
    end
  end
  return #ids
end

