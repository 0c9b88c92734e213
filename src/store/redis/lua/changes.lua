-- Returns the entries of the feed from a number on. If the first one is not the expected one, returns only where the feed
-- ends now, and begins it if there is none. KEYS: feed, an index. ARGV: the number, the expected entry, the most entries to
-- return, a random text.
--
-- The index tells a server that would not let the other scripts write to the feed.
local feed, number, expected, most, random = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]

-- A master that has been demoted, or that must not write without its replicas, may not know what has ended. After this
-- command, a full server also accepts one that needs memory.
local refused = refusal(redis.pcall('ZREM', feed, ''))
if refused then
  return refused
end
if number ~= '' then
  local entries = redis.call('ZRANGEBYSCORE', feed, number, '+inf', 'LIMIT', 0, most)
  if entries[1] == expected then
    return entries
  end
end
local last = redis.call('ZREVRANGE', feed, 0, 0)
if #last == 0 then
  last = append(feed, 0, {random})
end
return last
