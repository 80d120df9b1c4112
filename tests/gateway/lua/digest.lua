-- SHA-256 by the libcrypto that nginx has loaded already.
local ffi = require "ffi"

ffi.cdef [[
typedef struct evp_md_ctx_st EVP_MD_CTX;
EVP_MD_CTX *EVP_MD_CTX_new(void);
void EVP_MD_CTX_free(EVP_MD_CTX *);
const void *EVP_sha256(void);
int EVP_DigestInit_ex(EVP_MD_CTX *, const void *, void *);
int EVP_DigestUpdate(EVP_MD_CTX *, const void *, size_t);
int EVP_DigestFinal_ex(EVP_MD_CTX *, unsigned char *, unsigned int *);
unsigned char *HMAC(const void *, const void *, int, const unsigned char *, size_t, unsigned char *, unsigned int *);
]]

local C = ffi.C
local output, output_length = ffi.new("unsigned char[64]"), ffi.new("unsigned int[1]")
local M, Hash = {}, {}
Hash.__index = Hash

local function hex(bytes)
    return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

function M.new()
    local context = ffi.gc(C.EVP_MD_CTX_new(), C.EVP_MD_CTX_free)
    C.EVP_DigestInit_ex(context, C.EVP_sha256(), nil)
    return setmetatable({context = context, length = 0}, Hash)
end

function Hash:update(bytes)
    C.EVP_DigestUpdate(self.context, bytes, #bytes)
    self.length = self.length + #bytes
end

-- Ends the hash and frees its memory now: under load the collector would come too late.
function Hash:hex()
    C.EVP_DigestFinal_ex(self.context, output, output_length)
    C.EVP_MD_CTX_free(ffi.gc(self.context, nil))
    self.context = nil
    return hex(ffi.string(output, output_length[0]))
end

function M.sha256(bytes)
    local hash = M.new()
    hash:update(bytes)
    return hash:hex()
end

function M.hmac_sha256(key, bytes)
    C.HMAC(C.EVP_sha256(), key, #key, bytes, #bytes, output, output_length)
    return ffi.string(output, output_length[0])
end

function M.base64url_decode(text)
    text = text:gsub("-", "+"):gsub("_", "/")
    return ngx.decode_base64(text .. ("="):rep(-#text % 4))
end

return M
