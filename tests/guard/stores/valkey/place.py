"""Where rows are kept for the tests that every store passes: a tenant of its own, whose keys are dated back."""

from __future__ import annotations

from typing import Any

from redis import Redis

from valhalla.guard.stores.valkey import ValkeyStore
from valhalla.kernel.ids import new_id

# one key, as many seconds older as time shall pass
_AGE = """
local key, past = KEYS[1], math.floor(ARGV[1] * 1000000)
local kind, place = redis.call('TYPE', key).ok, string.match(key, '}guard:(.)')
local ends = redis.call('PEXPIRETIME', key)
if place == 'r' then
  local row = cmsgpack.unpack(redis.call('GET', key))
  for _, at in ipairs({ 12, 13, 14, 15 }) do row[at] = row[at] and row[at] - past end
  redis.call('SET', key, cmsgpack.pack(row), 'KEEPTTL')
elseif place == 'x' then
  local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for i = 1, #all, 2 do redis.call('ZADD', key, all[i + 1] - past, all[i]) end
elseif place == 'l' and kind == 'list' then
  for i = 0, redis.call('LLEN', key) - 1 do redis.call('LSET', key, i, redis.call('LINDEX', key, i) - past) end
elseif place == 'l' and kind == 'string' then
  local tat, interval = string.match(redis.call('GET', key), '(%d+) (%d+)')
  redis.call('SET', key, string.format('%.0f', tat - past) .. ' ' .. interval, 'KEEPTTL')
end
if ends > 0 then redis.call('PEXPIREAT', key, math.max(1, math.floor(ends - past / 1000))) end
"""


class ValkeyPlace:
    """Keys on a server; ``age`` lets time pass for them."""

    durable = True
    # rows whose time is over are gone before anybody looks
    purges_rows = False

    def __init__(self, url: str) -> None:
        self.url = url
        self.tenant = new_id()
        self._server: Any = Redis.from_url(url)
        self._server.config_set("appendfsync", "always")
        self._stores: list[ValkeyStore] = []

    def make(self) -> ValkeyStore:
        self._stores.append(ValkeyStore(self.url, tenant=self.tenant))
        return self._stores[-1]

    def age(self, seconds: float) -> None:
        for key in self._server.keys(f"{{{self.tenant}}}guard:[rkxl]:*"):
            self._server.eval(_AGE, 1, key, seconds)

    def close(self) -> None:
        for store in self._stores:
            store.close()
        self._server.config_set("appendfsync", "everysec")
        self._server.close()
