-- Clients that come once: a new connection and no cookie for every request, so that each one is
-- balanced, bound and given a key. Counts the answers that brought none.

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

unkeyed = 0 -- of one thread; a global, because `done` can read no others

function response(status, headers)
    if status == 200 and not (headers["Set-Cookie"] or headers["set-cookie"]) then
        unkeyed = unkeyed + 1
    end
end
