-- Replaces a record if it is still at the given version. KEYS: record, index. ARGV: member, version in the encoding
-- of the record (8 bytes, which a Lua number cannot represent), new value, its expiry in ms.
local record, index = KEYS[1], KEYS[2]
local value = ARGV[3]

local head = redis.call('GETRANGE', record, 0, 16)
if #head == 0 then
  return answer(index, 'gone')
end
-- The head contains random bytes. If they match, this is a retry of a call whose response was lost.
if head == string.sub(value, 1, 17) then
  return answer(index, 'done')
end
if string.sub(head, 9, 16) ~= ARGV[2] then
  return answer(index, 'conflict')
end

local now = present()
local expires = tonumber(ARGV[4])
if expires > now then
  return store(record, index, ARGV[1], value, expires, now) or 'done'
end
-- The new expiry has already passed, so the update ends the session.
local refused = refusal(redis.pcall('UNLINK', record))
if refused then
  return refused
end
redis.call('ZREM', index, ARGV[1])
return 'done'
