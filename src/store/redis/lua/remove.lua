-- Removes sessions of one subject and returns how many existed. KEYS: index, records. ARGV: their members.
local removed = redis.pcall('UNLINK', unpack(KEYS, 2))
local refused = refusal(removed)
if refused then
  return refused
end
redis.call('ZREM', KEYS[1], unpack(ARGV))
return removed
