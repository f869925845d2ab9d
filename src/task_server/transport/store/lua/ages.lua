-- Tell how long the next message of each list has waited, and remember which it is.
--
-- KEYS  lists of queues
-- ARGV  1 hash of the next messages; no KEY, since a server refuses the whole script for
--         one that the user may not use
--
-- Of a message that does not say when it was sent, only a lower bound is known: since
-- when it is the next one. Who asks remembers that, for whoever asks later.
--
-- Returns the server's time, then five by five for each list: its length, '-1' if it is no
-- list; since when its next message is that, '' if unknown; and of its headers, as JSON or '': ours with
-- the time it was sent, with its retries; that of sentry-sdk; its ETA.
local tails = ARGV[1]
local clock = redis.call('TIME')
local now = string.format('%.6f', tonumber(clock[1]) + tonumber(clock[2]) / 1000000)
-- Enough of a message to tell it from the next: its delivery tag is at the end.
local ENDS = 512

local function json(value)
  local good, text = pcall(cjson.encode, value)
  return good and value ~= nil and #text < ENDS and text or ''
end

-- Returns since when the message *text* is the next of *list*.
local function since(list, text)
  local mark = redis.sha1hex(#text .. text:sub(1, ENDS) .. text:sub(-ENDS))
  local known = redis.pcall('HGET', tails, list)
  if type(known) == 'string' and known:sub(1, #mark) == mark then
    return known:sub(#mark + 2)
  end
  if type(known) == 'table' and known.err then
    return ''
  end
  local written = redis.pcall('HSET', tails, list, mark .. ' ' .. now)
  return type(written) == 'number' and now or ''
end

local reply = {now}
local function add(...)
  for _, value in ipairs({...}) do
    reply[#reply + 1] = value
  end
end

for _, list in ipairs(KEYS) do
  local length = redis.pcall('LLEN', list)
  local text = type(length) == 'number' and length > 0 and redis.call('LINDEX', list, -1)
  if type(length) ~= 'number' then
    add('-1', '', '', '', '')
  elseif not text then
    add('0', '', '', '', '')
  else
    local good, message = parse(#text > LARGE and outline(text) or text)
    local headers = good and type(message) == 'table' and message.headers
    headers = type(headers) == 'table' and headers or {}
    local own = headers['task-server-sent']
    if type(own) == 'table' then
      own = {own[1], own[2], headers.retries or own[2]}
    end
    add(tostring(length), since(list, text), json(own), json(headers['sentry-task-enqueued-time']), json(headers.eta))
  end
end
return reply
