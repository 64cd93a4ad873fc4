-- As concurrency.py: the same functions, on the same whole numbers.

-- A sorted set of request ids by when their slots are free again; the period is how long one is held.
local slots = {}
algorithms.concurrency = slots

function slots.forward(ask, now)
  redis.call('ZREMRANGEBYSCORE', ask.key, '-inf', written(now))
  local latest = written(now + ask.period)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', ask.key, '(' .. latest, '+inf')) do
    redis.call('ZADD', ask.key, latest, name)
  end
  return {redis.call('ZCARD', ask.key), now}
end

function slots.fits(ask, state) return state[1] + ask.cost <= ask.limit end

function slots.remaining(ask, state) return math.max(ask.limit - state[1], 0) end

function slots.hold(ask, state, name)
  state[1] = state[1] + redis.call('ZADD', ask.key, written(state[2] + ask.period), name)
  redis.call('PEXPIRE', ask.key, ask.period)
end

function slots.wait(ask, state)
  local place = state[1] - ask.limit
  return tonumber(redis.call('ZRANGE', ask.key, place, place, 'WITHSCORES')[2]) - state[2]
end
