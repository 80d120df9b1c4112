-- The stand-in's behaviour: routing, authentication, headers and errors as Kong 3.9.1 shows them on the wire.
local balancer = require "ngx.balancer"
local digest = require "digest"
local config = require "routes"

local M = {}
local TOKEN = "kong/3.9.1"
local ERRORS = {
    [400] = "Bad request", [404] = "Not found", [405] = "Method not allowed", [408] = "Request timeout",
    [411] = "Length required", [412] = "Precondition failed", [413] = "Payload too large", [414] = "URI too long",
    [417] = "Expectation failed", [494] = "Request header or cookie too large",
    [502] = "An invalid response was received from the upstream server",
    [503] = "The upstream server is currently unavailable", [504] = "The upstream server is timing out",
}

-- Longest path first, so that /key wins over /k.
local routes = {}
for _, route in ipairs(config.routes) do
    route.service = config.services[route.service]
    routes[#routes + 1] = route
end
table.sort(routes, function(a, b) return #a.path > #b.path end)

local by_key, by_basic, by_issuer = {}, {}, {}
for _, consumer in ipairs(config.consumers) do
    for _, key in ipairs(consumer.keys) do by_key[key.key] = {consumer = consumer, identifier = key.id, session = key.key} end
    for _, pair in ipairs(consumer.basic) do
        by_basic[pair.username .. ":" .. pair.password] = {consumer = consumer, identifier = pair.username, session = pair.id}
    end
    for _, jwt in ipairs(consumer.jwt) do
        by_issuer[jwt.key] = {consumer = consumer, identifier = jwt.key, session = jwt.key, secret = jwt.secret}
    end
end

local function reply(status, message, headers)
    local body = message
    if message:sub(1, 1) ~= "{" then
        body = '{\n  "message":"' .. message .. '",\n  "request_id":"' .. ngx.var.request_id .. '"\n}'
    end
    ngx.status = status
    ngx.header["Content-Type"] = "application/json; charset=utf-8"
    for name, value in pairs(headers or {}) do ngx.header[name] = value end
    ngx.header["Content-Length"] = #body
    if ngx.req.get_method() ~= "HEAD" then ngx.print(body) end
    return ngx.exit(ngx.get_phase() == "content" and ngx.OK or status)
end

local function find_route()
    local path, host = ngx.var.uri, ngx.var.host
    for _, route in ipairs(routes) do
        if path:sub(1, #route.path) == route.path and (not route.host or route.host == host) then return route end
    end
end

local auth = {}

auth["key-auth"] = function()
    local key = ngx.req.get_headers(1000)["apikey"] or ngx.req.get_uri_args(1000)["apikey"]
    if type(key) == "table" then key = key[1] end
    if not key then return nil, "No API key found in request", {["WWW-Authenticate"] = "Key"} end
    return by_key[key], "Unauthorized", {["WWW-Authenticate"] = "Key"}
end

auth["basic-auth"] = function()
    local header = ngx.var.http_authorization
    local encoded = header and header:match("^%s*[Bb]asic%s+(%S+)")
    local pair = encoded and ngx.decode_base64(encoded)
    return pair and by_basic[pair], "Unauthorized", {["WWW-Authenticate"] = 'Basic realm="service"'}
end

auth["jwt"] = function()
    local refused = {["WWW-Authenticate"] = "Bearer"}
    local header = ngx.var.http_authorization
    local token = header and header:match("^%s*[Bb]earer%s+(%S+)") or ngx.var.arg_jwt
    if not token then return nil, "Unauthorized", refused end
    local signed, payload, signature = token:match("^([%w_-]+%.([%w_-]+))%.([%w_-]+)$")
    local claims = payload and digest.base64url_decode(payload)
    if not claims then return nil, "Bad token; invalid JSON", refused end
    local found = by_issuer[claims:match('"iss"%s*:%s*"([^"]*)"') or ""]
    if not found then return nil, "No credentials found for given 'iss'", refused end
    if digest.base64url_decode(signature) ~= digest.hmac_sha256(found.secret, signed) then
        return nil, "Invalid signature", refused
    end
    return found
end

-- What a consumer lacks is cleared: a client cannot bring it along.
local function set_consumer(credential)
    local consumer = credential.consumer
    ngx.req.set_header("X-Consumer-ID", consumer.id)
    if consumer.custom_id then
        ngx.req.set_header("X-Consumer-Custom-ID", consumer.custom_id)
    else
        ngx.req.clear_header("X-Consumer-Custom-ID")
    end
    ngx.req.set_header("X-Consumer-Username", consumer.username)
    ngx.req.set_header("X-Credential-Identifier", credential.identifier)
    ngx.req.clear_header("X-Anonymous-Consumer")
    ngx.ctx.session = credential.session
    ngx.var.kt_consumer = consumer.username
    ngx.var.kt_user = consumer.custom_id or consumer.username
end

-- Fixed windows of a minute by the clock, counted per consumer across workers.
local function limit(route, consumer)
    local window = math.floor(ngx.time() / 60)
    local counters = ngx.shared.kong_rate_limiting_counters
    local used = counters:incr(route.path .. consumer.id .. window, 1, 0, 120)
    local left = math.max(0, route.limit_per_minute - used)
    local reset = 60 - ngx.time() % 60
    ngx.ctx.limits = {
        ["RateLimit-Limit"] = route.limit_per_minute, ["RateLimit-Remaining"] = left, ["RateLimit-Reset"] = reset,
        ["X-RateLimit-Limit-Minute"] = route.limit_per_minute, ["X-RateLimit-Remaining-Minute"] = left,
    }
    if used > route.limit_per_minute then
        ngx.ctx.limits["Retry-After"] = reset
        return false
    end
    return true
end

local function uuid()
    local hex = ngx.md5(ngx.var.request_id .. ngx.now())
    return ("%s-%s-4%s-a%s-%s"):format(hex:sub(1, 8), hex:sub(9, 12), hex:sub(14, 16), hex:sub(18, 20), hex:sub(21))
end

-- The path that the service gets: the client's own bytes, less the route's prefix.
local function upstream_uri(route)
    local raw = ngx.var.request_uri
    local rest = raw:sub(1, #route.path) == route.path and raw:sub(#route.path + 1)
        or ngx.var.uri:sub(#route.path + 1) .. (ngx.var.is_args .. (ngx.var.args or ""))
    local path, query = rest:match("^([^?]*)(.*)$")
    if route.service.path then path = route.service.path .. path end
    if path:sub(1, 1) ~= "/" then path = "/" .. path end
    return path .. query
end

function M.access()
    ngx.ctx.begin = ngx.req.start_time()
    local route = find_route()
    if not route then return reply(404, "no Route matched with those values") end
    ngx.var.kt_route = route.path
    local forwarded_path = ngx.var.request_uri:match("^[^?]*")
    if route.terminate then return reply(route.terminate.status, route.terminate.body) end
    if route.auth then
        local credential, message, headers = auth[route.auth]()
        if not credential then return reply(401, message, headers) end
        set_consumer(credential)
        if route.allow_group and not credential.consumer.groups[route.allow_group] then
            return reply(403, "You cannot consume this service")
        end
        if route.limit_per_minute and not limit(route, credential.consumer) then
            return reply(429, "API rate limit exceeded")
        end
    end
    if route.correlation_id then
        ngx.ctx.correlation_id = ngx.var.http_kong_request_id or uuid()
        ngx.req.set_header("Kong-Request-ID", ngx.ctx.correlation_id)
    end
    ngx.var.kt_forwarded_path = forwarded_path
    ngx.var.kt_forwarded_prefix = route.path
    ngx.var.upstream_scheme = route.service.protocol
    ngx.var.upstream_uri = upstream_uri(route)
    ngx.var.upstream_host = "127.0.0.1:" .. route.service.ports[1]
    ngx.ctx.service = route.service
    ngx.ctx.balanced = ngx.now()
end

function M.balancer()
    local ctx = ngx.ctx
    local service = ctx.service
    ctx.tries = (ctx.tries or 0) + 1
    if ctx.tries == 1 then
        ngx.update_time()
        ctx.balanced = ngx.now()
        ngx.var.kt_begin = ctx.begin .. " " .. ctx.balanced
        if service.retries > 0 then balancer.set_more_tries(service.retries) end
        if service.read_timeout then balancer.set_timeouts(nil, nil, service.read_timeout / 1000) end
    end
    -- A failed peer is followed by the next one in the list, in its order, so that a test knows who answers.
    local ports = service.ports
    assert(balancer.set_current_peer("127.0.0.1", ports[(ctx.tries - 1) % #ports + 1]))
end

function M.header_filter()
    local header = ngx.header
    local begin, balanced = (ngx.var.kt_begin or ""):match("^(%S+) (%S+)$")
    if not ngx.ctx.made_here and balanced and not header["Server"] then header["Server"] = TOKEN end
    if ngx.ctx.correlation_id then header["Kong-Request-ID"] = ngx.ctx.correlation_id end
    for name, value in pairs(ngx.ctx.limits or {}) do header[name] = value end
    if balanced then
        local waited = tonumber((ngx.var.upstream_header_time or ""):match("([%d.]+)%s*$"))
        if not waited then
            ngx.update_time()
            waited = ngx.now() - balanced
        end
        header["X-Kong-Upstream-Latency"] = math.max(0, math.floor(waited * 1000 + 0.5))
        header["X-Kong-Proxy-Latency"] = math.max(0, math.floor((balanced - begin) * 1000 + 0.5))
        header["Via"] = "1.1 " .. TOKEN
        if ngx.ctx.made_here then header["Server"] = TOKEN end
    else
        header["X-Kong-Response-Latency"] = math.max(0, math.floor((ngx.now() - ngx.req.start_time()) * 1000 + 0.5))
        header["Server"] = TOKEN
    end
    header["X-Kong-Request-Id"] = ngx.var.request_id
end

function M.error_page()
    ngx.ctx.made_here = true
    local status = ngx.status
    return reply(status == 494 and 494 or status, ERRORS[status] or "An unexpected error occurred")
end

-- Response bytes as they leave for the client, before chunking and HTTP/2 framing.
function M.oracle_body()
    local ctx = ngx.ctx
    if not ctx.response_hash then ctx.response_hash = digest.new() end
    local piece = ngx.arg[1]
    if piece and #piece > 0 then ctx.response_hash:update(piece) end
end

local function request_hash()
    local hash = digest.new()
    local body = ngx.req.get_body_data()
    if body then
        hash:update(body)
        return hash
    end
    local name = ngx.var.request_body_file
    if not name or name == "" then return hash end
    local file = io.open(name, "rb")
    if not file then return nil end
    repeat
        local piece = file:read(65536)
        if piece then hash:update(piece) end
    until not piece
    file:close()
    return hash
end

function M.oracle_log()
    local response = ngx.ctx.response_hash or digest.new()
    ngx.var.kt_resp_len, ngx.var.kt_resp_sha256 = response.length, response:hex()
    -- A request that went to no upstream had its body thrown away unread; only the client knows what was in it.
    if ngx.var.kt_begin and ngx.var.kt_begin ~= "" then
        local request = request_hash()
        if request then ngx.var.kt_req_len, ngx.var.kt_req_sha256 = request.length, request:hex() end
    end
end

function M.plugin_post()
    local port = config.ports.plugin_collector
    local body = '[{"request":{"time":"2026-01-01T00:00:00.000","uri":"http://127.0.0.1:8000/from-the-plugin","verb":"GET",'
        .. '"headers":{}},"response":{"time":"2026-01-01T00:00:00.001","status":200,"headers":{}},"direction":"Incoming"}]'
    local socket = ngx.socket.tcp()
    socket:settimeouts(1000, 1000, 2000)
    local tls = ngx.var.arg_tls == "1"
    if tls then port = config.ports.upstream_tls end
    assert(socket:connect("127.0.0.1", port))
    if tls then assert(socket:sslhandshake(nil, nil, false)) end
    assert(socket:send("POST /v1/events/batch HTTP/1.1\r\nHost: 127.0.0.1:" .. port
        .. "\r\nUser-Agent: kong-plugin-moesif/2.1.2\r\nContent-Type: application/json\r\nX-Moesif-Application-Id: plugin\r\n"
        .. "Content-Length: " .. #body .. "\r\n\r\n" .. body))
    local status = socket:receive("*l")
    local length = 0
    repeat
        local line = assert(socket:receive("*l"))
        length = tonumber(line:lower():match("^content%-length:%s*(%d+)")) or length
    until line == ""
    if length > 0 then socket:receive(length) end
    socket:setkeepalive(5000, 4)
    ngx.say(status)
end

return M
