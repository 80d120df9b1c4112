-- What Moesif's plugin does, as far as its events show it: each call becomes an event with the plugin's own forms and
-- quirks, and batches are posted by a timer. `wrong_user` in its configuration makes it name somebody else.
local cjson = require "cjson.safe"
local config = require "moesif_config"

local M = {}
local LIMIT = 100000
local queue, timer_runs = {}, false

-- Milliseconds without their leading zeros, and no zone.
local function stamp(seconds)
    local whole = math.floor(seconds)
    return os.date("!%Y-%m-%dT%H:%M:%S", whole) .. "." .. math.floor((seconds - whole) * 1000)
end

local function put_body(message, body, headers)
    local kind = headers["content-type"]
    local value = type(kind) == "string" and kind:find("json", 1, true) and cjson.decode(body)
    if type(value) == "table" and not headers["content-encoding"] then
        message.body, message.transfer_encoding = value, "json"
    else
        message.body, message.transfer_encoding = ngx.encode_base64(body), "base64"
    end
end

function M.body()
    local ctx, piece = ngx.ctx, ngx.arg[1] or ""
    ctx.seen = (ctx.seen or 0) + #piece
    ctx.pieces = ctx.pieces or {}
    if ctx.seen <= LIMIT then ctx.pieces[#ctx.pieces + 1] = piece end
end

local function post()
    timer_runs = false
    local events = queue
    queue = {}
    local host, port = config.api_endpoint:match("^http://([^:/]+):(%d+)")
    local body = "[" .. table.concat(events, ",") .. "]"
    local socket = ngx.socket.tcp()
    socket:settimeouts(2000, 2000, 5000)
    if not socket:connect(host, tonumber(port)) then
        ngx.log(ngx.ERR, "the collector cannot be reached: ", #events, " events are lost")
        return
    end
    socket:send("POST /v1/events/batch HTTP/1.1\r\nHost: " .. host .. "\r\nUser-Agent: kong-plugin-moesif/2.1.2\r\nConnection: close"
        .. "\r\nContent-Type: application/json\r\nX-Moesif-Application-Id: " .. config.application_id .. "\r\nContent-Length: " .. #body
        .. "\r\n\r\n" .. body)
    socket:receive("*a")
    socket:close()
end

function M.log()
    local ctx, var = ngx.ctx, ngx.var
    local headers, answered = ngx.req.get_headers(1000), ngx.resp.get_headers(1000)
    local user = var.kt_user ~= "" and var.kt_user or nil
    local request = {
        uri = var.scheme .. "://" .. var.host .. ":" .. var.server_port .. var.request_uri, headers = headers,
        verb = ngx.req.get_method(), time = stamp(ngx.req.start_time()), ip_address = var.remote_addr, api_version = "1.0"}
    local response = {time = stamp(ngx.now()), status = ngx.status, headers = answered}
    -- A body that nginx put into a file is lost to the plugin.
    put_body(request, ngx.req.get_body_data() or "", headers)
    put_body(response, (ctx.seen or 0) <= LIMIT and table.concat(ctx.pieces or {}) or "", answered)
    queue[#queue + 1] = cjson.encode({
        request = request, response = response, direction = "Incoming", weight = 1, session_token = ctx.session,
        user_id = config.wrong_user or user, metadata = {kong = {service_name = "echo"}}})
    if not timer_runs then timer_runs = ngx.timer.at(0.2, post) end
end

return M
