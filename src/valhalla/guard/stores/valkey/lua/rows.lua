-- What all scripts share. KEYS[1] is the tenant's prefix with its hash tag: every key a script touches begins with it,
-- so all of them are in one slot. A row is one string (an array by cmsgpack): one read, one write, a third of a hash's
-- memory. `false` stands for nothing, because an array with holes has no end.
-- ARGV[1] is how many lines of the ledger are kept. `q` is the request that is being answered, `mark` what tells it
-- from every other one.
local P = KEYS[1]
local q, mark
local clock = redis.call('TIME')
-- whole microseconds: they fit in a double exactly until the year 2255, and reach a command with all their digits
local now = clock[1] * 1000000 + clock[2]

local ID, NAME, KEY, PRINT, WHO, EFFECT, KEEP, STATE, GEN, VER, OP, MADE, CHANGED, LEASE, EXPIRES, TTL, TOMB, VALUE =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
local REASON, SHOWN = 20, 29
local INDEX = { held = 'open', approved = 'open', executing = 'run', indeterminate = 'unknown' }

local function load(id)
  local text = redis.call('GET', P .. 'r:' .. id)
  return text and cmsgpack.unpack(text)
end

local function pointer(row)
  return row[KEY] and P .. 'k:' .. row[NAME] .. ' ' .. row[KEY]
end

local function settled(state)
  return state == 'succeeded' or state == 'failed'
end

-- when the row is dropped; nothing while somebody may still have to act on it
local function keep_until(row)
  local state = row[STATE]
  return not INDEX[state] and row[CHANGED] + row[TTL] + (settled(state) and row[TOMB] or 0)
end

local function gone(row)
  local till = keep_until(row)
  return till and till <= now
end

local function line(event, name, id, state, who, shown, print, generation, reason)
  -- '0-*' numbers the lines one by one, so that a reader sees what was trimmed
  local entry = redis.call('XADD', P .. 'ledger', 'MAXLEN', '~', ARGV[1], '0-*', 'l',
    cmsgpack.pack({ now, event, name, id, state, who, shown, print, generation, reason }))
  return tonumber(string.sub(entry, 3))
end

local function save(row)
  local till = keep_until(row)
  if till then
    -- the server drops it by itself
    redis.call('SET', P .. 'r:' .. row[ID], cmsgpack.pack(row), 'PXAT', math.ceil(till / 1000))
  else
    redis.call('SET', P .. 'r:' .. row[ID], cmsgpack.pack(row))
  end
end

local function index(row, before)
  local was, is = before and INDEX[before], INDEX[row[STATE]]
  if was and was ~= is then redis.call('ZREM', P .. 'x:' .. was, row[ID]) end
  if is and was ~= is then redis.call('ZADD', P .. 'x:' .. is, row[MADE], row[ID]) end
  -- a result whose time ends before its row's
  if not is and row[VALUE] and row[TOMB] > 0 and settled(row[STATE]) then
    redis.call('ZADD', P .. 'x:results', row[CHANGED] + row[TTL], row[ID])
  end
end

-- move a row to another state; who calls has checked that it may be
local function enter(row, to, event, who)
  local before = row[STATE]
  local answered = before ~= to and pointer(row)
  local closes, opens = INDEX[before] == 'open', INDEX[to] == 'open'
  if closes ~= opens then redis.call(opens and 'SADD' or 'SREM', P .. 'h:' .. row[WHO], row[ID]) end
  row[VER] = row[VER] + 1
  row[CHANGED] = now
  row[STATE] = to
  save(row)
  if before ~= to or not INDEX[to] then index(row, before) end
  if answered and redis.call('GET', answered) == row[ID] then
    local till = keep_until(row)
    if till then
      redis.call('PEXPIREAT', answered, math.ceil(till / 1000))
    else
      redis.call('PERSIST', answered)
    end
  end
  return event and line(event, row[NAME], row[ID], to, who, row[SHOWN], row[PRINT], row[GEN], row[REASON])
end

-- drop up to `count` results whose time is over; return how many
local function sweep(count)
  local ids = redis.call('ZRANGE', P .. 'x:results', '-inf', now, 'BYSCORE', 'LIMIT', 0, count)
  for _, id in ipairs(ids) do
    redis.call('ZREM', P .. 'x:results', id)
    local row = load(id)
    if row and settled(row[STATE]) and row[CHANGED] + row[TTL] <= now then
      row[VALUE] = false
      save(row)
    end
  end
  return #ids
end

