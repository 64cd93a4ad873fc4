-- What every script begins with. Every number stays below 2^53, where doubles are exact.

local EXACT = 9007199254740991

local function written(...)
  local words = {...}
  for i, number in ipairs(words) do words[i] = string.format('%.0f', number) end
  return table.concat(words, ':')
end

local function read(key, default)
  local text = redis.call('GET', key)
  if not text then return default end
  local numbers = {}
  for word in string.gmatch(text, '[^:]+') do numbers[#numbers + 1] = tonumber(word) end
  return numbers
end

local function clock(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local algorithms = {}

-- ARGV from `first` on: algorithm, limit, period, burst, cost of each; KEYS from `key` on, two where there is a log.
local function asks_of(first, key)
  local asks = {}
  for i = first, #ARGV, 5 do
    local ask = {
      word = ARGV[i], limit = tonumber(ARGV[i + 1]), period = tonumber(ARGV[i + 2]), burst = tonumber(ARGV[i + 3]),
      cost = tonumber(ARGV[i + 4]), key = KEYS[key]
    }
    ask.does = algorithms[ask.word]
    key = key + 1
    if ask.word == 'sliding_log' then
      ask.beside = KEYS[key]
      key = key + 1
    end
    asks[#asks + 1] = ask
  end
  return asks
end
