-- Apply acknowledgements, then move messages from the queues to this worker.
--
-- KEYS  1 hash of unacked messages       2 sorted set of their times
--       3… lists of the queues: all queues of the first priority in the order
--          of the queue cycle, then all of the second priority, and so on
-- ARGV  1 most messages to move   2 number of queues
--       3 '1' if the queue cycle rotates            4 this worker
--       5 seconds for which a worker that watches counts after its last fetch; 0 if it does
--         not wait, as one of a pool's children, whose parent does: the state is then 'poll'
--       6 the owner of moved messages: JSON, without its opening brace
--       7 '1' to try first whether each necessary command may be used
--       8… optional keys, which are no KEYS since a server
--          refuses the whole script for one that the user may not use:
--          8 sorted set of watching workers  9 list that wakes one waiting worker
--          10 list of unreadable messages   11 hash of their reasons, by SHA-1
--          12 what precedes the name of a list in that of its sorted set of
--             delayed tasks
--          13 hash of the paused queues, by the first of their lists
--          14 hash of the drained nodes
--       15 a task that is due in more seconds is delayed; '0' for none
--       16 '1' to return first what is due
--       17 the node of this worker
--       18… delivery tags to acknowledge
--
-- A message is registered first, then leaves its list, and a step that fails is
-- undone: no error loses a message or leaves it in both places. So with one that is
-- delayed, see delayed.lua.
--
-- Times are the server's: the clocks of two workers may differ.
--
-- Returns {state, problems, messages, next}, and if there is a queue that gives nothing since
-- it is paused, or all since the node is drained: which, counted from 0, behind the number
-- of the hashes 13 and 14 that exist. Problems, two by two: key, error; of
-- queues that cannot be read, and of optional keys. Messages, four
-- by four: list, counted from 0; tag; text; ''. Or of one that cannot be read:
-- list; '' if it was moved to the unreadable messages, else its field among the
-- unacked messages; its first characters; the reason. States: 'more' (the limit was reached), 'some',
-- and with no message at all 'watch', 'wait' or, if neither can be, 'poll',
-- or 'closed' if no queue gives anything. Next: in how
-- many seconds a delayed task is due, as text, for one that watches; '' for none.
local unacked, times, lists = KEYS[1], KEYS[2], #KEYS - 2
local limit, queues, rotate = math.min(tonumber(ARGV[1]), 1000), tonumber(ARGV[2]), ARGV[3] == '1'
local me, lease, owner = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local watchers, token, unreadable, reasons = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local prefix, paused, drained, node = ARGV[12], ARGV[13], ARGV[14], ARGV[17]
local horizon, FIRST_TAG = tonumber(ARGV[15]), 18
-- Of the messages of one call, but for the last: the other clients wait meanwhile.
local MOST_BYTES, MOST_REASONS, MOST_LATER = 1048576, 10000, 250
local clock = redis.call('TIME')
local now = clock[1] .. '.' .. string.format('%06d', clock[2])
-- The time of a message with a lease is a whole number of 1024ths: expired.lua then
-- knows which entries to read for its length.
local taken = now
if ARGV[6]:find('"lease": ', 1, true) then
  taken = string.format('%.10f', math.floor(tonumber(now) * 1024) / 1024)
end

local problems, moved, refusal = {}, {}, nil

-- A key of another type, or that the user may not use, is a problem of that key.
-- Any other error is the server's: it is out of memory, is a replica, lacks one.
local function note(key, failure)
  local text = failure.err
  -- The words differ between versions: "NOPERM", "No permissions to access a
  -- key", "has no permissions to run", "can't run", "can't access".
  if text:find('WRONGTYPE', 1, true) or text:find('NOPERM', 1, true) or text:find('permission', 1, true) or text:find("can't ", 1, true) then
    problems[#problems + 1] = key
    problems[#problems + 1] = text
  else
    refusal = failure
  end
end

local function failed(answer)
  return type(answer) == 'table' and answer.err and true
end

-- Call a command that may fail without harm; nil then.
local function try(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if failed(answer) then
    note(key, answer)
    return nil
  end
  return answer
end

-- The queues that give nothing, by their number.
local closed, reply_of_closed, open = {}, nil, queues

-- Ends the reply of this call.
local function reply(state, next_due)
  return {state, problems, moved, next_due, reply_of_closed}
end

if ARGV[7] == '1' then
  -- None of them changes anything. One that needs memory may be rejected for lack
  -- of it, which must not keep acknowledgements from freeing some.
  redis.call('ZREM', times, me)
  redis.call('HDEL', unacked, me)
  local answer = redis.pcall('ZADD', times, 'XX', 0, me)
  if failed(answer) and not answer.err:find('OOM', 1, true) then
    return answer
  end
end

if #ARGV >= FIRST_TAG then
  redis.call('ZREM', times, unpack(ARGV, FIRST_TAG))
  redis.call('HDEL', unacked, unpack(ARGV, FIRST_TAG))
end

-- The delayed tasks, see delayed.lua.
local made
local function delays()
  made = made or delays_of(prefix, tonumber(now), note)
  return made
end

-- One idle worker watches the queues, the others wait for the wakeup token: a
-- message wakes one worker, not all. A watcher that has not fetched for too long does
-- not count, even if it is still listed.
local function idle()
  if lease == 0 then
    return reply('poll', '')
  end
  local watching = try('ZCOUNT', watchers, '(' .. now, '+inf')
  if refusal or not watching then
    return refusal or reply('poll', '')
  end
  local until_then = watching > 0 and try('ZSCORE', watchers, me)
  if watching == 0 or (until_then and tonumber(until_then) > tonumber(now)) then
    try('ZREMRANGEBYSCORE', watchers, '-inf', now)
    if not try('ZADD', watchers, tonumber(now) + lease, me) then
      return refusal or reply('poll', '')
    end
    try('EXPIRE', watchers, 60)
    return reply('watch', delays().next_due({unpack(KEYS, 3)}))
  end
  return reply('wait', '')
end

if limit == 0 then
  return {'', problems, moved, ''}
end
if ARGV[16] == '1' then
  delays().return_due({unpack(KEYS, 3)})
end

-- What is paused. If nothing is anywhere, that is one command.
local there = redis.pcall('EXISTS', paused, drained)
if there ~= 0 then
  -- Of a key that may not be used, or is no hash, nothing is paused.
  local whole = (try('HMGET', drained, node) or {})[1]
  local found = whole and {} or try('HMGET', paused, unpack(KEYS, 3, 2 + queues)) or {}
  local numbers = {failed(there) and 0 or there}
  for queue = 1, queues do
    if whole or found[queue] then
      closed[queue] = true
      open = open - 1
      numbers[#numbers + 1] = queue - 1
    end
  end
  reply_of_closed = open < queues and numbers or nil
end

-- A worker that is busy, or closed, stops watching and wakes a waiting one, which fetches
-- and then watches: if nobody else watches, or if *always*.
local function pass_the_watch(always)
  local watching = try('ZCOUNT', watchers, '(' .. now, '+inf')
  if watching and watching > 0 and try('ZREM', watchers, me) == 1 then
    watching = try('ZCOUNT', watchers, '(' .. now, '+inf')
  end
  if always or watching == 0 then
    local lying = try('LLEN', token)
    if lying == 0 and try('LPUSH', token, '1') then
      try('EXPIRE', token, 60)
    end
  end
end

if open == 0 then
  pass_the_watch(false)
  return refusal or reply('closed', '')
end
if #ARGV < FIRST_TAG and redis.call('EXISTS', unpack(KEYS, 3)) == 0 then
  -- One command for all lists, and nothing else: idle workers call this often.
  return idle()
end

-- A name must be a string; anything else leads to no queue.
local function name(value)
  return type(value) == 'string' and cjson.encode(value) or 'null'
end

-- The entry that Kombu writes: a list of message, exchange, routing key; and in
-- the message, last, its list and its owner. Without these it is the text again.
local marks = {}
local function entry_of(text, list, fields)
  local mark = marks[list]
  if not mark then
    mark = ', "taken_from":' .. cjson.encode(KEYS[2 + list]) .. ', "holder":{' .. owner .. '}'
    marks[list] = mark
  end
  local last = text:byte(-1) == 125 and #text or text:match('()}%s*$')
  local route = ', ' .. name(fields.exchange) .. ', ' .. name(fields.routing_key) .. ']'
  return '[' .. text:sub(1, last - 1) .. mark .. text:sub(last + 1) .. route
end

-- Choose as that many BRPOPs in a row would: from the first queue in the cycle that
-- has a message of the best priority; that queue then goes to the cycle's end. Tasks
-- that are to be delayed are chosen beside these.
local chosen, later, counts, size, left

-- Returns the next message of *list*, or what the server says instead.
local function next_of(list)
  while #later < MOST_LATER and size < MOST_BYTES do
    local text = redis.pcall('LINDEX', KEYS[2 + list], -1 - (counts[list] or 0))
    if type(text) ~= 'string' then
      return nil, text
    end
    local fields, reason = fields_in(text)
    local one = {list = list, text = text, reason = reason}
    counts[list] = (counts[list] or 0) + 1
    size = size + #text
    one.due_at = horizon > 0 and fields and type(fields.eta) == 'string' and delays().due_at(fields, KEYS[2 + list], horizon)
    if not one.due_at then
      if fields then
        one.tag, one.entry = fields.tag, entry_of(text, list, fields)
      end
      return one
    end
    one.key = KEYS[2 + list]
    later[#later + 1] = one
  end
  return nil
end

local function choose()
  chosen, later, counts, size, left = {}, {}, {}, 0, limit
  local cycle = {}
  for queue = 1, queues do
    cycle[queue] = queue
  end
  for first = 0, lists - queues, queues do
    local empty, filled = {}, open
    if open < queues then
      for queue in pairs(closed) do
        empty[queue] = true
      end
    end
    while left > 0 and filled > 0 and size < MOST_BYTES do
      for place, queue in ipairs(cycle) do
        if not empty[queue] then
          local list = first + queue
          local one, failure = next_of(list)
          if one then
            chosen[#chosen + 1] = one
            left = left - 1
            if rotate then
              table.insert(cycle, table.remove(cycle, place))
            end
            break
          end
          if failure then
            note(KEYS[2 + list], failure)
          end
          empty[queue] = true
          filled = filled - 1
        end
      end
    end
  end
end

choose()
if #later > 0 and not delays().put(later) then
  -- Workers get them, as with Celery.
  horizon = 0
  choose()
end

-- Why a message cannot be read, and which worker found it: JSON.
local function about(one)
  local list = cjson.encode(KEYS[2 + one.list])
  return '{"reason":' .. cjson.encode(one.reason) .. ', "list":' .. list .. ', "at":' .. now .. ', ' .. owner
end

local function forget(those)
  local tags = {}
  for number, one in ipairs(those) do
    tags[number] = one.tag
  end
  redis.pcall('ZREM', times, unpack(tags))
  return redis.pcall('HDEL', unacked, unpack(tags))
end

-- Two messages may have the same tag, since producers write it: the second gets a
-- new one, else one acknowledgement would remove both. So does a message with a tag
-- that is not ASCII: the worker may be unable to decode it.
local function name_them()
  local tags, known = {}, {}
  for number, one in ipairs(chosen) do
    tags[number] = one.tag or ''
  end
  local there = try('HMGET', unacked, unpack(tags)) or {}
  for number, one in ipairs(chosen) do
    if one.reason then
      one.tag = 'unreadable:' .. me .. ':' .. now .. ':' .. number
      one.about = about(one)
      one.entry = '[' .. one.text .. ', "unreadable":' .. one.about .. ']'
    elseif there[number] or known[one.tag] or not one.tag:find('^[\1-\127]+$') then
      one.tag = me .. ':' .. now .. ':' .. number
    end
    known[one.tag] = true
  end
end

-- Registers a single message; returns whether there was only one. That is the usual
-- call of a busy worker with few slots, and takes fewer commands.
local function register_one()
  local one = chosen[1]
  if #chosen > 1 or one.reason or not one.tag:find('^[\1-\127]+$') then
    return false
  end
  if redis.pcall('HSETNX', unacked, one.tag, one.entry) ~= 1 then
    return false
  end
  if failed(redis.pcall('ZADD', times, taken, one.tag)) then
    forget(chosen)
    return false
  end
  return true
end

local function register()
  local fields, scores = {}, {}
  for _, one in ipairs(chosen) do
    fields[#fields + 1] = one.tag
    fields[#fields + 1] = one.entry
    if not one.reason then
      scores[#scores + 1] = taken
      scores[#scores + 1] = one.tag
    end
  end
  local answer = redis.pcall('HSET', unacked, unpack(fields))
  if not failed(answer) and #scores > 0 then
    answer = redis.pcall('ZADD', times, unpack(scores))
  end
  return answer
end

-- Take them out of their lists.
local function remove(key, count)
  local answer = redis.pcall('LTRIM', key, 0, -1 - count)
  if failed(answer) then
    answer = redis.pcall('RPOP', key, count)
  end
  return answer
end

-- Keep it in the list, newest first, and its reason in the hash.
local function keep_unreadable(one)
  local count = try('LPUSH', unreadable, one.text)
  if not count then
    return one.tag
  end
  if count == 1 then
    -- The list was emptied.
    redis.pcall('DEL', reasons)
  end
  local known = redis.pcall('HLEN', reasons)
  if type(known) == 'number' and known < MOST_REASONS then
    redis.pcall('HSET', reasons, redis.sha1hex(one.text), one.about)
  end
  forget({one})
  return ''
end

if #chosen > 0 or #later > 0 then
  local answer
  if #chosen > 0 and not register_one() then
    name_them()
    answer = register()
    if failed(answer) then
      forget(chosen)
      if #later > 0 then
        delays().forget(later)
      end
      return answer
    end
  end
  local staying, stays = {}, {}
  for list, count in pairs(counts) do
    answer = remove(KEYS[2 + list], count)
    if failed(answer) then
      note(KEYS[2 + list], answer)
      stays[list] = answer
    end
  end
  for _, one in ipairs(chosen) do
    if stays[one.list] then
      staying[#staying + 1] = one
    else
      local at = #moved
      moved[at + 1] = one.list - 1
      if one.reason then
        moved[at + 2] = keep_unreadable(one)
        moved[at + 3] = one.text:sub(1, 200)
      else
        moved[at + 2] = one.tag
        moved[at + 3] = one.text
      end
      moved[at + 4] = one.reason or ''
    end
  end
  local gone = #chosen - #staying
  for _, one in ipairs(later) do
    if stays[one.list] then
      delays().forget({one})
    else
      gone = gone + 1
    end
  end
  if #staying > 0 then
    forget(staying)
  end
  if gone == 0 then
    return select(2, next(stays))
  end
elseif refusal then
  return refusal
elseif #problems > 0 then
  -- If no queue can be read at all, fail.
  local read = 0
  for list = 1, lists do
    if not failed(redis.pcall('LINDEX', KEYS[2 + list], -1)) then
      read = read + 1
    end
  end
  if read == 0 then
    return redis.pcall('LINDEX', KEYS[3], -1)
  end
end

local more = left == 0 or size >= MOST_BYTES or #later >= MOST_LATER
if #moved == 0 and not more then
  return idle()
end

pass_the_watch(more)
return reply(more and 'more' or 'some', '')
