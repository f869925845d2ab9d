-- Put delayed tasks back into their list, due or not, as if they had just been sent.
--
-- KEYS  1 sorted set of delayed tasks   2 their list
--
-- Returns how many: the first to be due; a call moves some, until 0 are left.
local failure
local delays = delays_of('', 0, function(_, error)
  failure = error
end)
local members = delays.members_of(KEYS[1], nil) or {}
local moved = delays.move(KEYS[1], members, KEYS[2], 'LPUSH')
return failure or (moved and #members or 0)
