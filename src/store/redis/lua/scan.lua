-- Some of a subject's sessions and where to go on, which is 0 at the end. KEYS: index. ARGV: where to
-- begin, about how many.
return answer(KEYS[1], redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]))
