-- Delayed tasks wait in a sorted set of their list, until they are due.
--
-- The score is when a task is due, in seconds since 1970 by the server's clock. A member
-- is what makes it unique, a space, and the message byte for byte.
--
-- Only what a worker may do anyhow is called here, so that a task that could be put there
-- can always be taken out: ZRANGE, ZREM, RPUSH.

-- Returns the functions that follow. They are made where they are needed: each call of a
-- script makes all of its functions anew.
--
-- *prefix* precedes the name of a list in that of its set; *note* gets a key and its error.
local function delays_of(prefix, now, note)
  local FARTHEST = 100 * 366 * 86400
  local DAYS = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
  -- What one call returns is bounded: the other clients wait meanwhile.
  local room, bytes_left = 500, 1048576
  local delays, delayable, any = {}, {}, nil

  -- Returns the reply of a command; nil if it fails.
  local function try(command, key, ...)
    local answer = redis.pcall(command, key, ...)
    if type(answer) == 'table' and answer.err then
      note(key, answer)
      return nil
    end
    return answer
  end

  -- Returns the seconds since 1970 of *eta*, as Celery writes it: ISO 8601 with an offset.
  -- Nil for anything else, which only the app can judge: its time zone counts then.
  local function seconds_of(eta)
    if type(eta) ~= 'string' or #eta > 40 then
      return nil
    end
    local year, month, day, hour, minute, second, rest =
      eta:match('^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):(%d%d)(.+)$')
    if not year then
      return nil
    end
    local fraction, zone = rest:match('^(%.%d+)(.+)$')
    fraction, zone = tonumber(fraction or '0'), zone or rest
    local sign, hours, minutes = zone:match('^([+-])(%d%d):(%d%d)$')
    if zone == 'Z' then
      sign, hours, minutes = '+', 0, 0
    elseif not sign then
      return nil
    end
    year, month, day = tonumber(year), tonumber(month), tonumber(day)
    hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
    hours, minutes = tonumber(hours), tonumber(minutes)
    local is_leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
    local days = DAYS[month]
    if not days or day < 1 or day > (month == 2 and is_leap and 29 or days) then
      return nil
    end
    if hour > 23 or minute > 59 or second > 59 or hours > 23 or minutes > 59 then
      return nil
    end
    -- The days of the years since March of the year 0: February is their last month.
    local months = (month + 9) % 12
    local years = month <= 2 and year - 1 or year
    local day_of_year = math.floor((153 * months + 2) / 5) + day - 1
    local since_0 = years * 365 + math.floor(years / 4) - math.floor(years / 100) + math.floor(years / 400)
    local offset = (hours * 60 + minutes) * 60
    local local_time = (since_0 + day_of_year - 719468) * 86400 + hour * 3600 + minute * 60 + second + fraction
    return sign == '-' and local_time + offset or local_time - offset
  end

  -- Returns when the task of a message with these *fields* is due; nil if it says no time,
  -- or none that can be judged here. Celery's protocol 1 has no headers, and what the
  -- `eta` of a message that is no task of Celery means is unknown.
  local function due_of(fields)
    return type(fields.task) == 'string' and seconds_of(fields.eta) or nil
  end

  -- Returns whether the tasks of *list* can be delayed, and later returned: each command
  -- for that is tried before anything is written, on a list that no queue has.
  local function can_delay(list)
    if delayable[list] == nil then
      local set = prefix .. list
      delayable[list] = try('ZRANGE', set, 0, 0) and try('ZREM', set, '') and try('RPUSH', prefix, '') and true or false
      redis.pcall('RPOP', prefix)
      redis.pcall('LTRIM', prefix, 1, 0)
    end
    return delayable[list]
  end

  -- Returns when the task of a message with these *fields* is due, if it is to be delayed.
  function delays.due_at(fields, list, horizon)
    local due_at = due_of(fields)
    local within = due_at and due_at - now
    return within and within > horizon and within < FARTHEST and can_delay(list) and due_at
  end

  -- Puts *messages* into the sets of their lists: text, key of the list, due_at of each, and gives
  -- each a member. Returns whether it could; if not, none is there.
  function delays.put(messages)
    any = true
    for number, one in ipairs(messages) do
      one.member = string.format('%.6f:%04d ', now, number) .. one.text
      if redis.pcall('ZADD', prefix .. one.key, 'NX', string.format('%.6f', one.due_at), one.member) ~= 1 then
        delays.forget({unpack(messages, 1, number - 1)})
        return false
      end
    end
    return true
  end

  -- Takes *messages* out of the sets again.
  function delays.forget(messages)
    for _, one in ipairs(messages) do
      redis.pcall('ZREM', prefix .. one.key, one.member)
    end
  end

  -- Returns the first members of *set* that are due at *latest*; nil if it fails.
  function delays.members_of(set, latest)
    local members = {}
    while room > 0 and bytes_left > 0 do
      -- One by one: a message may be large.
      local found = try('ZRANGE', set, #members, #members, 'WITHSCORES')
      if not found then
        return nil
      end
      if #found == 0 or (latest and tonumber(found[2]) > latest) then
        break
      end
      members[#members + 1] = found[1]
      room, bytes_left = room - 1, bytes_left - #found[1]
    end
    return members
  end

  -- Moves *members* of *set* to *list* by *push*; returns whether it could.
  function delays.move(set, members, list, push)
    if #members == 0 or not try('ZREM', set, '') then
      return false
    end
    local texts, count = {}, #members
    for number, member in ipairs(members) do
      local space = member:find(' ', 1, true)
      -- What is pushed last to the front is the first to be taken.
      texts[push == 'RPUSH' and count + 1 - number or number] = space and member:sub(space + 1) or member
    end
    if not try(push, list, unpack(texts)) then
      return false
    end
    redis.call('ZREM', set, unpack(members))
    return true
  end

  -- Moves the tasks of *list* that are due to its front, in the order in which they are
  -- due. An earlier one that still waits there is taken first, so that portions keep the
  -- order as well.
  local function return_due(list)
    local set = prefix .. list
    local first = try('ZRANGE', set, '-inf', string.format('%.6f', now), 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
    if not first or #first == 0 then
      return
    end
    local head = redis.pcall('LINDEX', list, -1)
    local fields = type(head) == 'string' and fields_in(head)
    local before = fields and due_of(fields)
    if not (before and before <= tonumber(first[2])) then
      delays.move(set, delays.members_of(set, now) or {}, list, 'RPUSH')
    end
  end

  -- Returns whether any of *lists* may have delayed tasks: one command for all.
  local function has_any(lists)
    if any == nil then
      local sets = {}
      for number, list in ipairs(lists) do
        sets[number] = prefix .. list
      end
      -- An error says that one may not be used, which must not hide the others.
      any = redis.pcall('EXISTS', unpack(sets)) ~= 0
    end
    return any
  end

  -- Moves what is due to the fronts of *lists*.
  function delays.return_due(lists)
    if has_any(lists) then
      for _, list in ipairs(lists) do
        return_due(list)
      end
    end
  end

  -- Returns in how many seconds a task of *lists* is due, as text; '' if none is delayed.
  function delays.next_due(lists)
    local least
    for _, list in ipairs(has_any(lists) and lists or {}) do
      local first = redis.pcall('ZRANGE', prefix .. list, 0, 0, 'WITHSCORES')
      if not first.err and first[2] then
        least = math.min(tonumber(first[2]), least or math.huge)
      end
    end
    -- Not a moment too early.
    return least and string.format('%.3f', math.max(0, least - now) + 0.001) or ''
  end

  return delays
end
