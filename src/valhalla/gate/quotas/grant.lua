-- Grants up to `want` units of one bucket, or none if fewer than `least` are there. Times in whole microseconds by the
-- server's clock, so that every process means the same; see guard/governor/rules.py for the arithmetic.
local interval, burst, want, least = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local free = math.floor((burst * interval - (tat - now)) / interval)
if free < least then
  return { 0, tat + least * interval - burst * interval - now, math.max(0, free), tat - now }
end
local granted = math.min(want, free)
tat = tat + granted * interval
redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)
return { granted, 0, free - granted, tat - now }
