-- Begins the stream that wakes listeners, or keeps it for another hour. KEYS: the stream.
if redis.call('PEXPIRE', KEYS[1], 3600000) == 0 then
  redis.call('XADD', KEYS[1], 'MAXLEN', 1, '*', 'n', '')
  redis.call('PEXPIRE', KEYS[1], 3600000)
end
return 0
