-- Tries each command that the other scripts run, on keys at which nothing is ever stored, and returns those that the
-- server denies. KEYS: record, index, and the feed, whose name the user must be permitted as well.
local record, index = KEYS[1], KEYS[2]
-- What passes, or does not keep users from being served.
local passing = {'OOM', 'NOREPLICAS', 'MISCONF', 'LOADING', 'BUSY', 'MASTERDOWN', 'CLUSTERDOWN', 'TRYAGAIN'}
local denied = {}

local function try(name, ...)
  local reply = redis.pcall(name, ...)
  if type(reply) ~= 'table' or not reply.err then
    return
  end
  for _, code in ipairs(passing) do
    if string.find(reply.err, code, 1, true) then
      return
    end
  end
  table.insert(denied, name)
end

local refused = refusal(redis.pcall('ZREM', index, ''))
if refused and string.find(refused.err, 'READONLY', 1, true) then
  return refused
end
try('TIME')
try('GET', record)
try('GETRANGE', record, 0, 0)
try('MGET', record)
try('SET', record, '', 'PX', 1)
try('UNLINK', record)
try('ZADD', index, 0, '-')
try('ZRANGE', index, 0, 0)
try('ZRANGEBYSCORE', index, '-inf', 0, 'LIMIT', 0, 1)
try('ZREVRANGE', index, 0, 0, 'WITHSCORES')
try('ZSCAN', index, 0)
try('ZREM', index, '-')
try('PEXPIREAT', index, 1)
return denied
