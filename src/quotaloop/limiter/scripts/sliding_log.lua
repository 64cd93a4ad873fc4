-- As sliding_log.py: the same functions, on the same whole numbers.

-- A sorted set of `number:amount` by time; beside it what was used, the time, and how many entries there have been.
local log = {}
algorithms.sliding_log = log

local function amount_of(member) return tonumber(string.match(member, ':(.*)$')) end

local function enter(ask, state, time, amount)
  state[3] = state[3] + 1
  redis.call('ZADD', ask.key, written(time), written(state[3], amount))
  state[1] = state[1] + amount
end

function log.forward(ask, now)
  local state = read(ask.beside, {0, 0, 0})
  if now < state[2] - ask.period then
    redis.call('DEL', ask.key)
    local used = state[1]
    state[1], state[2] = 0, now
    if used ~= 0 then enter(ask, state, now, used) end
  else
    state[2] = math.max(state[2], now)
    local gone = written(state[2] - ask.period)
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', ask.key, '-inf', gone)) do
      state[1] = state[1] - amount_of(member)
    end
    redis.call('ZREMRANGEBYSCORE', ask.key, '-inf', gone)
  end
  log.save(ask, state)
  return state
end

function log.fits(ask, state) return state[1] + ask.cost <= ask.limit end

function log.remaining(ask, state) return math.max(ask.limit - state[1], 0) end

function log.charge(ask, state, cost)
  if cost > 0 then enter(ask, state, state[2], math.min(cost, EXACT - state[1])) end
end

function log.refund(ask, state, amount, spent)
  if amount > 0 and state[2] - ask.period < spent and spent <= state[2] then
    enter(ask, state, spent, -math.min(amount, state[1]))
  end
end

function log.wait(ask, state)
  local over, found = state[1] + ask.cost - ask.limit, redis.call('ZRANGE', ask.key, 0, -1, 'WITHSCORES')
  for i = 1, #found, 2 do
    over = over - amount_of(found[i])
    if over <= 0 and found[i + 1] ~= found[i + 3] then return tonumber(found[i + 1]) + ask.period - state[2] end
  end
  return ask.period
end

function log.save(ask, state)
  redis.call('SET', ask.beside, written(state[1], state[2], state[3]), 'PX', 2 * ask.period)
  redis.call('PEXPIRE', ask.key, 2 * ask.period)
end
