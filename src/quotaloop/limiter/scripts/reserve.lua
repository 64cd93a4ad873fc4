-- ARGV: time or '', the id of the request, how long it is held or 0 for good, then the asks. KEYS: the reservation if it
-- is held, then those of the asks. Answers with fits, remaining and wait of each.

local now, request, hold = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local record = hold > 0 and KEYS[1]
local asks = asks_of(4, record and 2 or 1)
local known = record and redis.call('EXISTS', record) == 1

local all = true
for _, ask in ipairs(asks) do
  ask.state = ask.does.forward(ask, now)
  ask.fits = known or ask.cost == 0 or ask.does.fits(ask, ask.state)
  all = all and ask.fits
end

if all and not known then
  for _, ask in ipairs(asks) do
    if ask.word ~= 'concurrency' then
      ask.does.charge(ask, ask.state, ask.cost)
    elseif ask.cost > 0 then
      ask.does.hold(ask, ask.state, request)
    end
  end
  if record then
    local fields = {'spent', written(now)}
    for _, ask in ipairs(asks) do
      fields[#fields + 1] = ask.key
      fields[#fields + 1] = written(ask.cost)
    end
    redis.call('HSET', record, unpack(fields))
    redis.call('PEXPIRE', record, hold)
  end
end

local answer = {}
for _, ask in ipairs(asks) do
  if ask.word ~= 'concurrency' then ask.does.save(ask, ask.state) end
  answer[#answer + 1] = ask.fits and 1 or 0
  answer[#answer + 1] = ask.does.remaining(ask, ask.state)
  answer[#answer + 1] = ask.fits and 0 or ask.does.wait(ask, ask.state)
end
return answer
