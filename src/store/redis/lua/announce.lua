-- Announces that sessions of one subject have ended or changed. KEYS: feed. ARGV: the subject's tag, members of its
-- index.
local refused = refusal(redis.pcall('ZREM', KEYS[1], ''))
if refused then
  return refused
end
announce(KEYS[1], ARGV[1], {unpack(ARGV, 2)})
return 0
