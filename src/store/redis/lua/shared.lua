-- What the scripts share; this stands before each of them.

-- A refusal in the form that clients know; nil when `reply` is none. Redis 6 writes the place in the
-- script before the error.
local function refusal(reply)
  if type(reply) ~= 'table' or not reply.err then
    return nil
  end
  return redis.error_reply(string.match(reply.err, '%-(%u+ .*)$') or reply.err)
end

-- Gives an answer for which nothing was written, but not on a demoted master, whose data is of the
-- past: it would call a live session gone. Only a write tells, and this one changes nothing.
local function answer(index, value)
  local probe = index and refusal(redis.pcall('ZREM', index, ''))
  if probe and string.find(probe.err, 'READONLY', 1, true) then
    return probe
  end
  return value
end

-- The present time in milliseconds, with a fraction.
local function present()
  local time = redis.call('TIME')
  return time[1] * 1000 + time[2] / 1000
end

-- Stores a record and puts it into its subject's index; gives the refusal, if the server refuses.
--
-- The first command is the one that a full server refuses: nothing is half done then. The index lives
-- as long as its longest session, and loses members whose sessions have ended: at least as many as
-- can have been added.
local function store(record, index, member, value, expires, now)
  local expires_text = string.format('%.0f', expires)
  local refused = refusal(redis.pcall('ZADD', index, expires_text, member))
  if refused then
    return refused
  end
  redis.call('SET', record, value)
  redis.call('PEXPIREAT', record, expires_text)
  local ended = redis.call('ZRANGEBYSCORE', index, '-inf', math.floor(now), 'LIMIT', 0, 100)
  if #ended > 0 then
    redis.call('ZREM', index, unpack(ended))
  end
  local longest = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
  -- A large score may be written with an exponent, which the command does not read.
  redis.call('PEXPIREAT', index, string.format('%.0f', tonumber(longest[2])))
  return nil
end

