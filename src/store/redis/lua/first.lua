-- Returns the sessions of a subject that expire first. KEYS: index. ARGV: the zero-based position of the last one.
return answer(KEYS[1], redis.call('ZRANGE', KEYS[1], 0, ARGV[1]))
