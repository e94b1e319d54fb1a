"""Scripts that Redis runs as one step and in one round trip. Source: Redis' documentation of EVALSHA, in Lua 5.1."""

import hashlib
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from tinyci.model.state import FINAL

REPEATED_FIELDS = ("repo", "ref", "revision", "pusher", "user")
"""Fields of the hash that its events repeat."""
_TEXT_MAX = 512
"""Bytes of each of them in an event."""
_EVENTS_MAX = 10_000


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


def _names(texts: Sequence[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)


UPDATE = Script(f"""
-- Write fields of a job that has not ended, with an event if there is one. Keys: the job's hash, the set of all jobs,
-- the stream of events. Arguments: the number of the fields' names and values, and these; and for an event the id of
-- the job, its score in the set, and the names and values of the event's own fields.
-- Return 1; or 0, with nothing written, when the hash has a final state.
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
for key, right in pairs({{[jobs] = "zset", [events] = "stream"}}) do
  local wrong = redis.call("TYPE", key).ok
  if wrong ~= right and wrong ~= "none" then
    return redis.error_reply("MISPLACED " .. key .. " is a " .. wrong .. " where a " .. right .. " belongs")
  end
end
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
