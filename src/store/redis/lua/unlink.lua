-- Removes sessions of one subject, but not from the index, and returns how many existed. KEYS: records.
local removed = redis.pcall('UNLINK', unpack(KEYS))
return refusal(removed) or removed
