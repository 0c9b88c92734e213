-- Creates a session that begins at the server's current time, and returns that time in whole milliseconds.
--
-- KEYS: record, index. ARGV: member, head, idle and absolute lifetime in ms, the latest representable time in ms,
-- the part of the value after the times.
local record, index = KEYS[1], KEYS[2]
local head = ARGV[2]

local stored = redis.call('GETRANGE', record, 0, 32)
if #stored > 0 then
  -- The head contains random bytes. If they match, this is a retry of a call whose response was lost.
  if string.sub(stored, 1, 17) ~= head then
    return answer(index, 'taken')
  end
  return answer(index, string.format('%.0f', (struct.unpack('>I8', stored, 26))))
end

local now = present()
local begun = math.ceil(now)
local absolute = math.min(begun + ARGV[4], tonumber(ARGV[5]))
local idle = math.min(begun + ARGV[3], absolute)
if idle > now then
  local times = struct.pack('>I8I8I8I8I8I8I8i8', begun, begun, begun, idle, absolute, begun, begun, -1)
  local refused = store(record, index, ARGV[1], head .. times .. ARGV[6], idle, now)
  if refused then
    return refused
  end
end
return string.format('%.0f', begun)
