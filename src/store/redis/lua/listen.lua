-- Begins the stream that wakes listeners, or keeps it for another hour. KEYS: the stream.
local expires = string.format('%.0f', present() + 3600000)
if redis.call('PEXPIREAT', KEYS[1], expires) == 0 then
  redis.call('XADD', KEYS[1], 'MAXLEN', 1, '*', 'n', '')
  redis.call('PEXPIREAT', KEYS[1], expires)
end
return 0
