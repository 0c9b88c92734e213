-- Returns the history of writes that the master goes on with, or `-` if that is not asked for, and the entries of the
-- feed from a number on, and the time. If the first one is not the expected one, returns only where the feed ends now, and begins it
-- if there is none. Returns nothing if the user may not ask for the history.
--
-- KEYS: feed, and an index if scripts are to write to both: the server tells if they cannot. ARGV: the number, the
-- expected entry, the most entries to return, a random text, whether the history is asked for ('h').
local feed, number, expected, most, random = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]

-- A master that has been demoted, or that must not write without its replicas, may not know what has ended. After this
-- command, a full server also accepts one that needs memory.
local refused = refusal(redis.pcall('ZREM', feed, ''))
if refused then
  return refused
end
local history = '-'
if ARGV[5] == 'h' then
  local info = redis.pcall('INFO', 'replication')
  history = type(info) == 'string' and string.match(info, 'master_replid:(%x+)')
  if not history then
    return false
  end
end
if number ~= '' then
  local entries = redis.call('ZRANGEBYSCORE', feed, number, '+inf', 'LIMIT', 0, most)
  if entries[1] == expected then
    return {history, entries, redis.call('TIME')}
  end
end
local last = redis.call('ZREVRANGE', feed, 0, 0)
if #last == 0 then
  last = append(feed, 0, {random})
end
return {history, last, redis.call('TIME')}
