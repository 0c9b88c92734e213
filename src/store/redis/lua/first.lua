-- The sessions of a subject that end first. KEYS: index. ARGV: the last one's place, counted from 0.
return answer(KEYS[1], redis.call('ZRANGE', KEYS[1], 0, ARGV[1]))
