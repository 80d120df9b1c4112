-- The service behind the gateway: an echo, and every kind of response that a service can give.
local digest = require "digest"

local M = {}

local ESCAPES = {['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t"}

local function quote(text)
    return '"' .. text:gsub('[%c"\\]', function(c)
        return ESCAPES[c] or ("\\u%04x"):format(c:byte())
    end) .. '"'
end

local function is_utf8(text)
    local _, _, err = ngx.re.find(text, "", "u")
    return not err
end

local function read_body()
    ngx.req.read_body()
    local body = ngx.req.get_body_data()
    local name = not body and ngx.req.get_body_file()
    if name then
        local file = assert(io.open(name, "rb"))
        body = file:read("*a")
        file:close()
    end
    return body or ""
end

-- Names and order as they came, which ngx.req.get_headers loses.
local function raw_headers()
    local list = {}
    for line in ngx.req.raw_header(true):gmatch("([^\r\n]+)") do
        local name, value = line:match("^([^:]+):%s*(.-)%s*$")
        if name then
            list[#list + 1] = name
            list[#list + 1] = value
        end
    end
    return list
end

local function echo()
    local body = read_body()
    local raw = raw_headers()
    local map, list = {}, {}
    for i = 1, #raw, 2 do
        map[#map + 1] = quote(raw[i]:lower()) .. ":" .. quote(raw[i + 1])
        list[#list + 1] = quote(raw[i]) .. "," .. quote(raw[i + 1])
    end
    local shown = is_utf8(body) and '"body":' .. quote(body) or '"body_base64":"' .. ngx.encode_base64(body) .. '"'
    local reply = ('{"method":"%s","path":%s,"http_version":"%.1f","headers":{%s},"raw_headers":[%s],"body_length":%d,%s,'
        .. '"body_sha256":"%s"}'):format(ngx.req.get_method(), quote(ngx.var.request_uri), ngx.req.http_version(),
        table.concat(map, ","), table.concat(list, ","), #body, shown, digest.sha256(body))
    ngx.header["Content-Type"] = "application/json"
    ngx.header["Content-Length"] = #reply
    ngx.print(reply)
end

-- The same bytes for the same length, whoever asks: 64 KiB that repeat.
local block
local function bytes_block()
    if not block then
        local piece, state = {}, 12345
        for i = 1, 65536 do
            state = (state * 1103515245 + 12345) % 2147483648
            piece[i] = string.char(math.floor(state / 65536) % 256)
        end
        block = table.concat(piece)
    end
    return block
end

local function send_repeated(unit, length, args)
    local pause = (tonumber(args.ms) or 0) / 1000
    while length > 0 do
        ngx.print(length >= #unit and unit or unit:sub(1, length))
        length = length - #unit
        if not ngx.flush(true) then return end
        if pause > 0 then ngx.sleep(pause) end
    end
end

local function sized(n, args)
    local chunked = args.chunked == "1"
    if args.nobuf == "1" then ngx.header["X-Accel-Buffering"] = "no" end
    if args.json ~= "1" then
        ngx.header["Content-Type"] = args.type or "application/octet-stream"
        if not chunked then ngx.header["Content-Length"] = n end
        return send_repeated(bytes_block(), n, args)
    end
    local open, close = '{"data":"', '"}'
    local fill = math.max(0, n - #open - #close)
    ngx.header["Content-Type"] = "application/json"
    if not chunked then ngx.header["Content-Length"] = #open + fill + #close end
    ngx.print(open)
    send_repeated(("x"):rep(65536), fill, args)
    ngx.print(close)
end

local function pieces(n, args, pause)
    ngx.header["Content-Type"] = args.type or "text/plain; charset=UTF-8"
    if args.nobuf == "1" then ngx.header["X-Accel-Buffering"] = "no" end
    for i = 0, n - 1 do
        ngx.print("chunk " .. i .. "\n")
        if not ngx.flush(true) then return end
        if pause > 0 then ngx.sleep(pause) end
    end
end

local function status(code)
    read_body()
    ngx.status = code
    ngx.header["Content-Type"] = "application/json"
    if code == 204 or code == 304 then return ngx.exit(code) end
    ngx.print('{"status":' .. code .. "}")
end

-- A gzip member made by hand: stored blocks need no compressor, and any inflater reads them.
local function gzip_stored(text)
    local out = {"\31\139\8\0\0\0\0\0\0\3"}
    local function le(value, count)
        local bytes = {}
        for i = 1, count do
            bytes[i] = string.char(value % 256)
            value = math.floor(value / 256)
        end
        return table.concat(bytes)
    end
    local at = 1
    repeat
        local piece = text:sub(at, at + 65534)
        at = at + #piece
        out[#out + 1] = (at > #text and "\1" or "\0") .. le(#piece, 2) .. le(65535 - #piece, 2) .. piece
    until at > #text
    out[#out + 1] = le(ngx.crc32_long(text), 4) .. le(#text, 4)
    return table.concat(out)
end

local function gzip(n)
    local rows = {}
    for i = 1, n do rows[i] = ('{"row":%d,"name":"widget %d"}'):format(i, i * 7919 % 1000) end
    local body = gzip_stored("[" .. table.concat(rows, ",") .. "]")
    ngx.header["Content-Type"] = "application/json"
    ngx.header["Content-Encoding"] = "gzip"
    ngx.header["Content-Length"] = #body
    ngx.print(body)
end

-- Closes with 3000 bytes of a promised 10000 sent.
local function abort()
    local socket = assert(ngx.req.socket(true))
    socket:send("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 10000\r\n\r\n"
        .. bytes_block():sub(1, 3000))
    ngx.exit(ngx.ERROR)
end

local function sse(n, args)
    ngx.header["Content-Type"] = "text/event-stream"
    ngx.header["Cache-Control"] = "no-cache"
    ngx.header["X-Accel-Buffering"] = "no"
    for i = 0, n - 1 do
        ngx.print("id: " .. i .. "\ndata: {\"tick\":" .. i .. "}\n\n")
        if not ngx.flush(true) then return end
        ngx.sleep((tonumber(args.ms) or 20) / 1000)
    end
end

local function xor_mask(payload, mask)
    local out = {}
    for i = 1, #payload do
        out[i] = string.char(bit.bxor(payload:byte(i), mask:byte((i - 1) % 4 + 1)))
    end
    return table.concat(out)
end

local function frame(opcode, payload)
    local n = #payload
    local length = n < 126 and string.char(n)
        or n < 65536 and string.char(126, math.floor(n / 256), n % 256)
        or "\127\0\0\0\0" .. string.char(math.floor(n / 16777216), math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256)
    return string.char(128 + opcode) .. length .. payload
end

local function websocket()
    local key = ngx.var.http_sec_websocket_key
    if not key then
        ngx.status = 426
        ngx.header["Upgrade"] = "websocket"
        return ngx.print("websocket only\n")
    end
    local socket = assert(ngx.req.socket(true))
    socket:send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        .. ngx.encode_base64(ngx.sha1_bin(key .. "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) .. "\r\n\r\n")
    while true do
        local head = socket:receive(2)
        if not head then break end
        local opcode, length = bit.band(head:byte(1), 15), bit.band(head:byte(2), 127)
        if length >= 126 then
            local more = socket:receive(length == 126 and 2 or 8)
            if not more then break end
            length = 0
            for i = 1, #more do length = length * 256 + more:byte(i) end
        end
        local mask = socket:receive(4)
        local payload = length == 0 and "" or mask and socket:receive(length)
        if not mask or not payload then break end
        socket:send(frame(opcode == 9 and 10 or opcode, xor_mask(payload, mask)))
        if opcode == 8 then break end
    end
    ngx.exit(ngx.ERROR)
end

local function fixed(content_type, body)
    return function()
        ngx.header["Content-Type"] = content_type
        ngx.header["Content-Length"] = #body
        ngx.print(body)
    end
end

local handlers = {
    bytes = sized, large = sized,
    chunked = function(n, args) pieces(n, args, 0) end,
    stream = function(n, args) pieces(n, args, (tonumber(args.ms) or 20) / 1000) end,
    status = status,
    gzip = function(n) gzip(n or 200) end,
    delay = function(n)
        ngx.sleep(n / 1000)
        status(200)
    end,
    close = function(n, args)
        args.chunked = "1"
        sized(n or 5000, args)
    end,
    abort = abort, sse = function(n, args) sse(n or 5, args) end, ws = websocket,
    empty = fixed("text/plain", ""),
    text = function()
        ngx.header["Content-Type"] = "text/plain; charset=utf-8"
        ngx.print("hello text\n")
    end,
    binary = function() fixed("image/png", bytes_block():sub(1, 64))() end,
    multi = function()
        ngx.header["Set-Cookie"] = {"a=1; Path=/", "b=2; HttpOnly"}
        ngx.header["X-Multi"] = {"one", "two"}
        ngx.header["X-MiXeD-Case"] = "Yes"
        ngx.header["Content-Type"] = "application/json"
        ngx.print('{"ok":true}')
    end,
    ["json-odd"] = fixed("application/json", '{"id":123456789012345678,"none":[],"nothing":{},"f":1.50,"e":1e400,'
        .. '"uni":"é€😀","esc":"\\u0000\\ud83d\\ude00","sl":"a\\/b","dup":1,"dup":2,"deep":[[[[[]]]]]}'),
    ["json-bad"] = fixed("application/json", '{"a":1'),
    ["json-space"] = fixed("application/JSON", '\n  {"a":1}\n'),
}

-- Any number may come in the path, /chunked/3, or in the query, /chunked?n=3.
function M.content()
    local name, number = ngx.var.uri:match("^/([%w-]+)/?(%d*)$")
    if not name then name, number = ngx.var.uri:match("^/v1/([%w-]+)/batch(%d*)$") end
    if name == "events" then return status(201) end
    local handler = handlers[name]
    if not handler then return echo() end
    read_body()
    local args = ngx.req.get_uri_args()
    local n = tonumber(number) or tonumber(args.n)
    -- Without a number these mean what a service would answer to a call it half understands.
    if not n and (handler == sized or name == "chunked" or name == "stream") then n = 3 end
    if not n and name == "status" then n = 200 end
    if not n and name == "delay" then n = 100 end
    return handler(n, args)
end

-- The reference upstream names no server and sends its date last.
function M.header_filter()
    ngx.header["Server"] = ""
    ngx.header["Date"] = ngx.http_time(ngx.time())
end

return M
