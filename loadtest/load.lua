-- The load that is measured. Its requests are made up before it starts, so that wrk calls no Lua for
-- them: the machine is for the proxies. sticky.lua and first.lua check beforehand what this cannot see.
--
--   wrk … -s load.lua URL -- [close] [body=BYTES] [spread=HEADER] [cookie=NAME=VALUE]...
--
-- Each thread is one client, with the cookie whose turn it is, and with several connections, as a
-- browser. `close`: a new connection for every request. `body`: POST it. `spread`: another value of that
-- header in each request, a thousand of them.

local number = 0

function setup(thread)
    thread:set("number", number)
    number = number + 1
end

function init(args)
    local cookies, spread = {}, nil
    for _, argument in ipairs(args) do
        local name, value = argument:match("^(%a+)=?(.*)$")
        if name == "close" then
            wrk.headers["Connection"] = "close"
        elseif name == "body" then
            wrk.method, wrk.body = "POST", string.rep("0", tonumber(value))
        elseif name == "host" then
            wrk.headers["Host"] = value
        elseif name == "spread" then
            spread = value
        elseif name == "cookie" then
            table.insert(cookies, value)
        end
    end
    if #cookies > 0 then wrk.headers["Cookie"] = cookies[number % #cookies + 1] end
    if not spread then return end
    local messages, turn = {}, 0
    for user = 1, 1000 do
        messages[user] = wrk.format(nil, nil, { [spread] = "user-" .. user .. "-" .. number })
    end
    request = function()
        turn = turn % #messages + 1
        return messages[turn]
    end
end

function done(summary, latency)
    local errors = summary.errors
    print(string.format("RESULT requests=%d us=%d failed=%d p50=%d p99=%d p999=%d",
        summary.requests, summary.duration,
        errors.connect + errors.read + errors.write + errors.timeout + errors.status,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
