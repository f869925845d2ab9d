-- Apply acknowledgements, then move messages from the queues to this worker.
--
-- KEYS  1 hash of unacked messages       2 sorted set of their times
--       3 sorted set of watching workers 4 list that wakes one waiting worker
--       5 list of unreadable messages
--       6… lists of the queues: all queues of the first priority in the order
--          of the queue cycle, then all of the second priority, and so on
-- ARGV  1 most messages to move   2 number of queues
--       3 '1' if the queue cycle rotates            4 this worker
--       5 seconds a worker may watch without a sign of life
--       6 who holds what is moved: JSON, without its opening brace
--       7… delivery tags to acknowledge
--
-- Times are the server's: the clocks of two workers may differ.
--
-- Returns {state, list, tag, text, list, tag, text, …}, lists counted from 0. A
-- tag is '' if the text could not be read and was put aside. States: 'more' (the limit was
-- reached), 'some', and with no message at all 'watch' or 'wait'.
local unacked, times, watchers, baton, unreadable = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local limit, queues, rotate = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local me, lease = ARGV[4], tonumber(ARGV[5])
local holder = ', "holder":{' .. ARGV[6] .. '}'
local clock = redis.call('TIME')
local now = clock[1] .. '.' .. string.format('%06d', clock[2])

if #ARGV > 6 then
  redis.call('ZREM', times, unpack(ARGV, 7))
  redis.call('HDEL', unacked, unpack(ARGV, 7))
end

local reply = {''}

-- cjson refuses half of a surrogate pair, which Python's json writes and
-- reads. Only the delivery tag and the route are needed of the decoded message,
-- so the second try goes without such characters.
local function decode(text)
  local good, message = pcall(cjson.decode, text)
  if not good then
    local plain = text:gsub('\\\\', '__'):gsub('\\u[dD][89abAB]%x%x', '?'):gsub('\\u[dD][c-fC-F]%x%x', '?')
    good, message = pcall(cjson.decode, plain)
  end
  local properties = good and type(message) == 'table' and message.properties
  if type(properties) ~= 'table' or type(properties.delivery_tag) ~= 'string' then
    return nil
  end
  local info = properties.delivery_info
  return properties.delivery_tag, type(info) == 'table' and info or {}
end

local function encode(value)
  if value == nil then
    return 'null'
  end
  return cjson.encode(value)
end

local function register(text, place)
  local key = KEYS[place]
  local tag, info = decode(text)
  if tag then
    -- The same entry that Kombu writes: a list of message, exchange, routing
    -- key; and in the message, last, who holds it.
    local held = text:sub(-1) == '}' and text:sub(1, -2) .. holder or text
    local entry = '[' .. held .. ', ' .. encode(info.exchange) .. ', ' .. encode(info.routing_key) .. ']'
    local answer = redis.pcall('HSET', unacked, tag, entry)
    if type(answer) ~= 'table' then
      answer = redis.pcall('ZADD', times, now, tag)
    end
    if type(answer) == 'table' then
      redis.call('RPUSH', key, text)
      return answer
    end
  else
    redis.call('LPUSH', unreadable, text)
  end
  reply[#reply + 1] = place - 6
  reply[#reply + 1] = tag or ''
  reply[#reply + 1] = text
end

-- As many BRPOPs in a row would do: the first queue in the cycle that has a
-- message of the best priority; a queue that gave one goes to the cycle's end.
local cycle = {}
for queue = 1, queues do
  cycle[queue] = queue
end
local left = limit
local last = #KEYS - queues
if limit > 0 and redis.call('EXISTS', unpack(KEYS, 6)) == 0 then
  -- Nothing to move, as idle workers find: one look for all lists.
  last = 0
end
for first = 5, last, queues do
  local empty, filled = {}, queues
  while left > 0 and filled > 0 do
    for place, queue in ipairs(cycle) do
      if not empty[queue] then
        local text = redis.call('RPOP', KEYS[first + queue])
        if text then
          local failure = register(text, first + queue)
          if failure then
            return failure
          end
          left = left - 1
          if rotate then
            table.insert(cycle, table.remove(cycle, place))
          end
          break
        end
        empty[queue] = true
        filled = filled - 1
      end
    end
  end
end

if limit == 0 then
  return reply
end

local seconds = tonumber(now)
-- A watcher without a sign of life is none, wherever it still stands.
local watching = redis.call('ZCOUNT', watchers, '(' .. now, '+inf')

-- One idle worker watches the queues, the others wait for the baton: a message
-- wakes one worker, not all. Who took messages has work to do, so it stops to
-- watch and wakes one that waits, which looks for more and watches in its turn.
if left < limit then
  reply[1] = left == 0 and 'more' or 'some'
  if watching > 0 and redis.call('ZREM', watchers, me) == 1 then
    watching = redis.call('ZCOUNT', watchers, '(' .. now, '+inf')
  end
  if (left == 0 or watching == 0) and redis.call('LLEN', baton) == 0 then
    redis.call('LPUSH', baton, '1')
    redis.call('EXPIRE', baton, 60)
  end
  return reply
end
local until_then = watching > 0 and redis.call('ZSCORE', watchers, me)
if watching == 0 or (until_then and tonumber(until_then) > seconds) then
  reply[1] = 'watch'
  redis.call('ZREMRANGEBYSCORE', watchers, '-inf', now)
  redis.call('ZADD', watchers, seconds + lease, me)
  redis.call('EXPIRE', watchers, 60)
else
  reply[1] = 'wait'
end
return reply
