-- Returns a record and the current time. KEYS: record, and the index unless the server is part of a cluster, where a
-- demoted master redirects its clients.
local time = redis.call('TIME')
return answer(KEYS[2], {time[1], time[2], redis.call('GET', KEYS[1])})
