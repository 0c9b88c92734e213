-- Functions shared by the scripts. This file is prepended to each of them.

-- Returns the error of a reply in the form that clients expect, or nil if the reply is not an error. Redis 6 puts the
-- position in the script before the error code.
local function refusal(reply)
  if type(reply) ~= 'table' or not reply.err then
    return nil
  end
  return redis.error_reply(string.match(reply.err, '%-(%u+ .*)$') or reply.err)
end

-- Returns the result of a script that has written nothing, or an error on a demoted master, whose data may be
-- outdated: it might report a live session as gone. Only a write reveals the demotion; this one changes nothing.
local function answer(index, value)
  local probe = index and refusal(redis.pcall('ZREM', index, ''))
  if probe and string.find(probe.err, 'READONLY', 1, true) then
    return probe
  end
  return value
end

-- Returns the current time in milliseconds, with a fraction.
local function present()
  local time = redis.call('TIME')
  return time[1] * 1000 + time[2] / 1000
end

-- Stores a record and adds it to its subject's index. Returns the error if the server refuses the write.
--
-- A full server refuses the first command, so the script is never applied partially. The index expires with its
-- last session. Each call removes up to 100 members whose sessions have expired, more than it adds, so they do not
-- accumulate.
local function store(record, index, member, value, expires, now)
  local expires_text = string.format('%.0f', expires)
  local refused = refusal(redis.pcall('ZADD', index, expires_text, member))
  if refused then
    return refused
  end
  -- In one command, so that no record stays for ever where the second is denied.
  redis.call('SET', record, value, 'PX', string.format('%.0f', math.max(1, math.ceil(expires - now))))
  local ended = redis.call('ZRANGEBYSCORE', index, '-inf', math.floor(now), 'LIMIT', 0, 100)
  if #ended > 0 then
    redis.call('ZREM', index, unpack(ended))
  end
  local longest = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
  -- A large score may be returned in exponent notation, which PEXPIREAT does not accept.
  redis.call('PEXPIREAT', index, string.format('%.0f', tonumber(longest[2])))
  return nil
end

-- Appends ids to the feed, whose last entry has the number `last`, and returns the new entries.
--
-- An entry is its number and the id. The numbers are times in microseconds, and grow. The feed keeps the last 100,000
-- entries, and expires an hour after the last one.
local function append(feed, last, ids)
  local time = redis.call('TIME')
  local number = math.max(last + 1, time[1] * 1000000 + time[2])
  local entries, scored = {}, {}
  for position, id in ipairs(ids) do
    local text = string.format('%.0f', number + position - 1)
    entries[position] = text .. ' ' .. id
    table.insert(scored, text)
    table.insert(scored, entries[position])
  end
  redis.call('ZADD', feed, unpack(scored))
  -- More than are added.
  local old = redis.call('ZREVRANGE', feed, 100000, 100500)
  if #old > 0 then
    redis.call('ZREM', feed, unpack(old))
  end
  redis.call('PEXPIREAT', feed, string.format('%.0f', (time[1] + 3600) * 1000))
  return entries
end

-- Returns the tag of the subject whose index it is.
local function tag_of(index)
  return string.match(index, '{(.*)}$')
end

-- Announces that sessions of a subject have ended or changed, unless there is no feed: each node finds a gap where it
-- begins. A full server accepts this after another write, which must come first.
local function announce(feed, tag, members)
  local last = feed and redis.call('ZREVRANGE', feed, 0, 0, 'WITHSCORES') or {}
  if #last == 0 then
    return
  end
  -- If the clock has gone back, the numbers would be counted instead of measured, and two masters could count the same.
  if tonumber(last[2]) > present() * 1000 + 1000000 then
    redis.call('UNLINK', feed)
    return
  end
  local ids = {}
  for position, member in ipairs(members) do
    ids[position] = tag .. member
  end
  append(feed, tonumber(last[2]), ids)
  -- Wakes those who listen, if there are any. That the user may not, or that the server is too old, does not matter.
  redis.pcall('XADD', feed .. ':push', 'NOMKSTREAM', 'MAXLEN', 1, '*', 'n', '')
end

