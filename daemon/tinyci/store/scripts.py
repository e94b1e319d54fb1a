"""Scripts that Redis runs as one step and in one round trip. Source: Redis' documentation of EVALSHA, in Lua 5.1."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from tinyci.model.fields import HOOK_FIELDS
from tinyci.model.state import FINAL

REPEATED_FIELDS = ("repo", "ref", "revision", "pusher", "user")
"""Fields of the hash that its events repeat."""
_TEXT_MAX = 512
"""Bytes of each of them in an event."""
_EVENTS_MAX = 10_000
_NEW_MAX = 1 << 16
"""Bytes of memory that the hash of a new job may take."""
_MANY_IDS = 8
_PASS = 1000
"""Entries of a list that a script has in memory at once."""


Call = tuple[Sequence[str], Sequence[str | float]]
"""Keys and arguments of a script."""


class Script:
    """A program of Redis. What it has written stays when one of its commands fails: it looks for all that can fail
    before it writes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: "Redis[str]", keys: Sequence[str], *arguments: str | float) -> Any:
        """Return what the script returns. Redis forgets it at each restart, and then learns it anew."""
        rest = (len(keys), *keys, *arguments)
        try:
            return await client.execute_command("EVALSHA", self._digest, *rest)
        except NoScriptError:
            return await client.execute_command("EVAL", self._text, *rest)

    async def run_all(self, client: "Redis[str]", calls: Sequence[Call]) -> list[Any]:
        """Return what the script returns for each of those keys and arguments, after one round trip; for a call that
        failed it is the ResponseError. A call may be made twice."""
        while True:
            async with client.pipeline(transaction=False) as pipe:
                for keys, arguments in calls:
                    pipe.execute_command("EVALSHA", self._digest, len(keys), *keys, *arguments)
                replies: list[Any] = await pipe.execute(raise_on_error=False)
            if not any(isinstance(reply, NoScriptError) for reply in replies):
                return replies
            keys, arguments = calls[0]
            with suppress(ResponseError):
                await self.run(client, keys, *arguments)


def _names(texts: Sequence[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)


_MISPLACED = """
local function misplaced(types)
  for key, right in pairs(types) do
    local wrong = redis.call("TYPE", key).ok
    if wrong ~= right and wrong ~= "none" then
      return redis.error_reply("MISPLACED " .. key .. " is a " .. wrong .. " where a " .. right .. " belongs")
    end
  end
end
"""
"""A function that returns the error of the first key that has another type than it should, by its key, or nothing."""

ADD = Script(f"""
-- Add an accepted job unless there is one already. Keys: its hash, a hash that the hook added, the set of all jobs, the
-- list of those that wait, the list of accepted ones. Arguments: the job's id, its score in the set, and the names and
-- values of its fields.
-- Return 1; or 0, with nothing written. A hash alone is no job: Redis made it before it noticed that the list was none,
-- so that nothing leads to it.
{_MISPLACED}
local hash, new, jobs, queue, accepted = unpack(KEYS)
local id, score = ARGV[1], ARGV[2]
local wrong = misplaced({{[jobs] = "zset", [queue] = "list", [accepted] = "list"}})
if wrong then return wrong end
if redis.call("EXISTS", hash, new) > 0 then
  local has_state = redis.call("HEXISTS", hash, "state") == 1
  if has_state or redis.call("LPOS", queue, id) or redis.call("LPOS", accepted, id) then return 0 end
end
redis.call("UNLINK", new)
redis.call("HSET", hash, unpack(ARGV, 3))
redis.call("ZADD", jobs, score, id)
redis.call("LPUSH", accepted, id)
return 1
""")

TAKE = Script("""
-- Move the ids that wait longest. Keys: the list of those that wait, the list of accepted ones. Arguments: how many at
-- most, and how long an id is at most: anything longer is dropped.
-- Return the ids, oldest first, and the lengths of what was dropped.
local ids, lengths = {}, {}
for _ = 1, tonumber(ARGV[1]) do
  local id = redis.call("LMOVE", KEYS[1], KEYS[2], "RIGHT", "LEFT")
  if not id then break end
  if #id > tonumber(ARGV[2]) then
    redis.call("LPOP", KEYS[2])
    lengths[#lengths + 1] = #id
  else
    ids[#ids + 1] = id
  end
end
return {ids, lengths}
""")

LOOK = Script(f"""
-- Look at a job whose id is in a list. Keys: its hash, and the hash that the hook added.
-- Return the fields of the first, with their names; or 1 and the hook's fields of the second; or 2 and the bytes of
-- memory that the second takes, if that is too long to be read; or nothing.
local fields = redis.call("HGETALL", KEYS[1])
if #fields > 0 then return {{0, fields}} end
local size = redis.call("MEMORY", "USAGE", KEYS[2], "SAMPLES", 0)
if not size then return {{0, {{}}}} end
if size > {_NEW_MAX} then return {{2, size}} end
return {{1, redis.call("HMGET", KEYS[2], {_names(HOOK_FIELDS)})}}
""")

ADMIT = Script(f"""
-- Make a job of what the hook added. Keys: the job's hash, the hash that the hook added, the set of all jobs.
-- Arguments: the job's id, its score in the set, and its fields with their names, or none if it has none that is right.
-- Return the fields of the job, with their names: they are others if somebody has made it meanwhile.
{_MISPLACED}
if #ARGV > 2 and redis.call("EXISTS", KEYS[1]) == 0 then
  local wrong = misplaced({{[KEYS[3]] = "zset"}})
  if wrong then return wrong end
  redis.call("HSET", KEYS[1], unpack(ARGV, 3))
  redis.call("ZADD", KEYS[3], ARGV[2], ARGV[1])
end
redis.call("UNLINK", KEYS[2])
return redis.call("HGETALL", KEYS[1])
""")

UPDATE = Script(f"""
-- Write fields of a job that has not ended, with an event if there is one. Keys: the job's hash, the set of all jobs,
-- the stream of events. Arguments: the number of the fields' names and values, and these; and for an event the id of
-- the job, its score in the set, and the names and values of the event's own fields.
-- Return 1; or 0, with nothing written, when the hash has a final state.
{_MISPLACED}
local hash, jobs, events = KEYS[1], KEYS[2], KEYS[3]
local count = tonumber(ARGV[1])
local fields = {{unpack(ARGV, 2, count + 1)}}
local is_written = true  -- by a try whose acknowledgement was lost
for place = 1, count, 2 do
  is_written = is_written and redis.call("HGET", hash, fields[place]) == fields[place + 1]
end
if is_written then return 1 end
local state = redis.call("HGET", hash, "state")
for _, final in ipairs({{{_names(sorted(FINAL))}}}) do
  if state == final then return 0 end
end
local wrong = misplaced({{[jobs] = "zset", [events] = "stream"}})
if wrong then return wrong end
redis.call("HSET", hash, unpack(fields))
if #ARGV == count + 1 then return 1 end
local id, score = ARGV[count + 2], ARGV[count + 3]
local event = {{unpack(ARGV, count + 4)}}
for _, name in ipairs({{{_names(REPEATED_FIELDS)}}}) do
  local text = redis.call("HGET", hash, name) or ""
  if #text > {_TEXT_MAX} then
    local last = {_TEXT_MAX} - 3
    while text:byte(last + 1) >= 128 and text:byte(last + 1) < 192 do last = last - 1 end  -- within a character
    text = text:sub(1, last) .. "…"
  end
  if text ~= "" or name == "repo" or name == "ref" then
    event[#event + 1], event[#event + 2] = name, text
  end
end
redis.call("ZADD", jobs, "NX", score, id)  -- a shell script that made the job did not index it
redis.call("XADD", events, "MAXLEN", "~", {_EVENTS_MAX}, "*", unpack(event))
return 1
""")

RELEASE = Script(f"""
-- Remove ids from a list. Key: the list. Arguments: the ids.
-- Of many, mark the places in one pass, and then remove what is marked: LREM looks through the whole list for each.
local list = KEYS[1]
if #ARGV < {_MANY_IDS} then
  for _, id in ipairs(ARGV) do redis.call("LREM", list, 0, id) end
  return
end
local released = {{}}
for _, id in ipairs(ARGV) do released[id] = true end
for start = 0, redis.call("LLEN", list) - 1, {_PASS} do
  for place, id in ipairs(redis.call("LRANGE", list, start, start + {_PASS} - 1)) do
    if released[id] then redis.call("LSET", list, start + place - 1, "") end
  end
end
redis.call("LREM", list, 0, "")  -- the empty text is no id
""")
