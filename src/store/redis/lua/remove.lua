-- Removes sessions of one subject and returns how many existed. KEYS: index, records, and the feed if there can be one.
-- ARGV: their members.
--
-- In this order, a full server accepts all of it. What is found gone is announced as well: it may have been removed by
-- other means.
local removed = redis.pcall('UNLINK', unpack(KEYS, 2, #ARGV + 1))
local refused = refusal(removed)
if refused then
  return refused
end
announce(KEYS[#ARGV + 2], tag_of(KEYS[1]), ARGV)
redis.call('ZREM', KEYS[1], unpack(ARGV))
return removed
