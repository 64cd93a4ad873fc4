-- As token_bucket.py: the same functions, on the same whole numbers.

local bucket = {}
algorithms.token_bucket = bucket

function bucket.forward(ask, now)
  local state = read(ask.key, {0, 0})
  local debt, at = state[1], state[2]
  local elapsed = now - at
  if elapsed >= 0 then
    if elapsed > math.floor(debt / ask.limit) then return {0, now} end
    return {debt - elapsed * ask.limit, now}
  end
  if elapsed < -ask.period then return {debt, now} end
  return {debt, at}
end

function bucket.fits(ask, state) return state[1] + ask.cost * ask.period <= ask.burst * ask.period end

function bucket.charge(ask, state, cost) state[1] = math.min(state[1] + cost * ask.period, EXACT) end

function bucket.refund(ask, state, amount, spent)
  local left = amount * ask.period - math.max(state[2] - spent, 0) * ask.limit
  state[1] = math.max(state[1] - math.max(left, 0), 0)
end

function bucket.remaining(ask, state)
  return math.floor(math.max(ask.burst * ask.period - state[1], 0) / ask.period)
end

function bucket.wait(ask, state)
  return math.ceil((state[1] + (ask.cost - ask.burst) * ask.period) / ask.limit)
end

function bucket.save(ask, state)
  redis.call('SET', ask.key, written(state[1], state[2]), 'PX', math.floor(state[1] / ask.limit) + ask.period)
end
