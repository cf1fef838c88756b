-- Checks before the load: clients that come back. Each keeps its connection and the cookie it was
-- given, and counts the answers that came from another backend than the one before.
--
-- wrk has no state for a connection, only for a thread. Run it with as many threads as
-- connections (-t N -c N): then each thread is one client. load.py does so, before it measures.

-- What wrk runs once, before and after: a list of the threads.

local clients = {}

function setup(thread)
    table.insert(clients, thread)
end

function done()
    local changes, without_key, per_backend = 0, 0, {}
    for _, client in ipairs(clients) do
        local backend = client:get("bound_to") or "none"
        per_backend[backend] = (per_backend[backend] or 0) + 1
        changes = changes + client:get("moves")
        if not client:get("key") then without_key = without_key + 1 end
    end

    local shares = {}
    for backend, count in pairs(per_backend) do table.insert(shares, backend .. " " .. count) end
    table.sort(shares)

    print("clients of each backend: " .. table.concat(shares, ", "))
    print("changes of backend: " .. changes)
    print("clients without a key: " .. without_key)
    print("violations: " .. changes + without_key)
end

-- What each thread has a copy of. `host=NAME` among the arguments is the host that it asks for. Globals, because `done` can read no others.

key = nil      -- "name=value", as the last Set-Cookie gave it
bound_to = nil -- the backend that answered last
moves = 0

local message

function init(args)
    for _, argument in ipairs(args) do wrk.headers["Host"] = argument:match("^host=(.*)$") end
end

function request()
    message = message or wrk.format(nil, nil, { Cookie = key })
    return message
end

function response(status, headers, body)
    -- Of several Set-Cookie lines wrk shows the last.
    local set_cookie = headers["Set-Cookie"] or headers["set-cookie"]
    if set_cookie then
        local cleared = set_cookie:lower():find("max%-age=0%f[^%d]")
        key = not cleared and set_cookie:match("^[^;]+") or nil
        message = nil
    end

    if status ~= 200 then return end -- wrk counts these
    local backend = body:match("^%S+")
    if bound_to and backend ~= bound_to then moves = moves + 1 end
    bound_to = backend
end
