-- ARGV: time or '', the id of the request, 'settle' or 'extend', how long it is held, how long it is remembered once it
-- is settled, then the asks. KEYS: the reservation, then those of the asks. Answers 1 if something is reserved under the
-- id.

local now, request, verb, hold = clock(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local record = KEYS[1]
local asks = asks_of(6, 2)
local spent = tonumber(redis.call('HGET', record, 'spent'))
if not spent then return 0 end
local settled = redis.call('HEXISTS', record, 'settled') == 1

if verb == 'extend' then
  if settled then return 0 end
  redis.call('PEXPIRE', record, hold)
  for _, ask in ipairs(asks) do
    if ask.word == 'concurrency' and tonumber(redis.call('HGET', record, ask.key) or 0) > 0 then
      ask.does.hold(ask, ask.does.forward(ask, now), request)
    end
  end
  return 1
end

if settled then return 1 end
for _, ask in ipairs(asks) do
  local cost = tonumber(redis.call('HGET', record, ask.key))
  if cost and ask.word == 'concurrency' then
    ask.does.forward(ask, now)
    redis.call('ZREM', ask.key, request)
  elseif cost then
    local state = ask.does.forward(ask, now)
    local more = ask.cost - cost
    if more > 0 then
      ask.does.charge(ask, state, more)
    else
      ask.does.refund(ask, state, -more, spent)
    end
    ask.does.save(ask, state)
  end
end
redis.call('HSET', record, 'settled', 1)
redis.call('PEXPIRE', record, tonumber(ARGV[5]), 'LT')
return 1
