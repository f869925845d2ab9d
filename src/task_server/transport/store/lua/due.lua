-- Return the delayed tasks that are due to their lists, for a worker that is too busy to
-- fetch: another one, or one of Kombu's transport, may have room.
--
-- ARGV  1 as 12 of fetch.lua   2… lists
--
-- None of them is a KEY, since a server refuses the whole script for one that the user
-- may not use.
--
-- Returns problems: key, error, key, error, and so on.
local clock = redis.call('TIME')
local problems = {}
local function note(key, failure)
  problems[#problems + 1] = key
  problems[#problems + 1] = failure.err
end
delays_of(ARGV[1], tonumber(clock[1]) + tonumber(clock[2]) / 1000000, note).return_due({unpack(ARGV, 2)})
return problems
