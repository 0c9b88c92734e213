-- Replaces a record that is still at a version, and gives its times as they are then. KEYS: record, index, and the
-- feed if there can be one.
-- ARGV: member, version as the record has it (8 bytes: a number of Lua would not hold it), new value,
-- which times become the present one ('c', 'r', 'i', 's' for confirmed, rotated, issued, last seen), the
-- idle lifetime in ms if the idle expiry follows, the latest time there is, whether to announce it
-- ('a') even if the session goes on.
local record, index = KEYS[1], KEYS[2]
local value, stamps, lifetime = ARGV[3], ARGV[4], tonumber(ARGV[5])

local head = redis.call('GETRANGE', record, 0, 16)
if #head == 0 then
  return answer(index, 'gone')
end
-- The head contains random bytes. If they match, this is a retry of a call whose response was lost.
if head == string.sub(value, 1, 17) then
  return answer(index, redis.call('GETRANGE', record, 17, 80))
end
if string.sub(head, 9, 16) ~= ARGV[2] then
  return answer(index, 'conflict')
end

local now = present()
local begun = math.ceil(now)
local function stamped(stamp, time)
  return string.find(stamps, stamp, 1, true) and begun or time
end
local rotated, created, seen, idle, absolute, issued, claims, confirmed =
  struct.unpack('>I8I8I8I8I8I8I8i8', value, 18)
if lifetime then
  idle = math.min(math.max(begun + lifetime, idle), absolute, tonumber(ARGV[6]))
end
local times = struct.pack('>I8I8I8I8I8I8I8i8', stamped('r', rotated), created, math.max(stamped('s', seen), seen),
  idle, absolute, stamped('i', issued), claims, stamped('c', confirmed))

local expires = math.min(idle, absolute)
if expires > now then
  value = string.sub(value, 1, 17) .. times .. string.sub(value, 82)
  local refused = store(record, index, ARGV[1], value, expires, now)
  if refused then
    return refused
  end
  if ARGV[7] == 'a' then
    announce(KEYS[3], tag_of(index), {ARGV[1]})
  end
  return times
end
-- The new expiry has already passed, so the update ends the session.
local refused = refusal(redis.pcall('UNLINK', record))
if refused then
  return refused
end
announce(KEYS[3], tag_of(index), {ARGV[1]})
redis.call('ZREM', index, ARGV[1])
return times
