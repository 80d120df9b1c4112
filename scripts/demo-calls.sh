#!/usr/bin/env bash
# Calls to the stand-in gateway, one about every quarter of a second, until it is killed. run.sh starts it inside the
# gateway's network namespace.
set -u
http=http://127.0.0.1:8000 https=https://127.0.0.1:8443
call() { curl -sk -o /dev/null --max-time 5 "$@"; }
jwt=$(python3 - <<'P'
import base64, hashlib, hmac, json
enc = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=").decode()
head = enc(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
body = enc(json.dumps({"iss": "alice-iss", "sub": "alice"}).encode())
print(f"{head}.{body}." + enc(hmac.new(b"alice-jwt-secret", f"{head}.{body}".encode(), hashlib.sha256).digest()))
P
)
while :; do
	call "$http/open/hello?demo=1"; sleep 0.2
	call -H 'apikey: alice-key-123' "$http/key/orders/17"; sleep 0.2
	call -u alice:alicepw "$https/basic/invoices" --http1.1; sleep 0.2
	call -H "Authorization: Bearer $jwt" -d '{"item":"tea","n":2}' -H 'Content-Type: application/json' "$http/jwt/cart"; sleep 0.2
	call "$http/key/orders/17"; sleep 0.2
	call "$http/nowhere"; sleep 0.2
	call "$https/tlsup/bytes/20000" --http1.1; sleep 0.2
	call "$https/open/over-h2"; sleep 0.2
	call "$http/terminated"; sleep 0.2
done
