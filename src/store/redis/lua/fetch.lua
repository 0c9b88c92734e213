-- Returns records of one subject and the current time. KEYS: index, records.
local time = redis.call('TIME')
return answer(KEYS[1], {time[1], time[2], redis.call('MGET', unpack(KEYS, 2))})
