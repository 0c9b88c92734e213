-- Returns a page of a subject's sessions and the next cursor, which is 0 at the end. KEYS: index. ARGV: cursor,
-- approximate size of the page.
return answer(KEYS[1], redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]))
