-- Checks before the load: clients that come once, without a cookie, over a new connection each. Each
-- has to be given a cookie; counts the answers that brought none.

wrk.headers["Connection"] = "close"

local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function done()
    local without_key = 0
    for _, thread in ipairs(threads) do without_key = without_key + thread:get("unkeyed") end
    print("answers without a key: " .. without_key)
    print("violations: " .. without_key)
end

function init(args)
    for _, argument in ipairs(args) do wrk.headers["Host"] = argument:match("^host=(.*)$") end
end

unkeyed = 0 -- of one thread; a global, because `done` can read no others

function response(status, headers)
    if status == 200 and not (headers["Set-Cookie"] or headers["set-cookie"]) then
        unkeyed = unkeyed + 1
    end
end
