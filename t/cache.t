# Why it exists: an answer from the cache asks no upstream: it takes no key,
# but it is charged and recorded like any other; only tokens it costs none.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 44;

run_tests();

__DATA__

=== TEST 1: a miss, two hits
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_key_pool p { key sk-1 id=a; key sk-2 id=b; }
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/proxy_cache keys_zone=c:1m;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 200 "for $http_authorization\n";
    }
--- config
    location = /t {
        sluice_usage on;
        sluice_limit zone=rpm limit=3;
        sluice_key p;
        proxy_cache c;
        proxy_cache_valid 1h;
        add_header X-Cache "$upstream_cache_status|$sluice_key_id";
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t", "GET /t", "GET /t"]
--- error_code eval
[200, 200, 200, 429]
--- response_headers eval
["X-Cache: MISS|a", "X-Cache: HIT|", "X-Cache: HIT|", "!X-Cache"]
--- x_records
outcome=admitted status=200 key=a pool=p tries=1
outcome=admitted status=200 key=- pool=- tries=0
outcome=admitted status=200 key=- pool=- tries=0
outcome=limit status=429
--- x_members
p a used=1 in_flight=0
p b used=0 in_flight=0
--- x_zone
rpm passed=3 refused=1



=== TEST 2: what the cache answers costs no tokens, whatever its header says
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone all zone=rpm:64k window=1h;
    sluice_limit_zone all zone=tpm:64k window=1h unit=tokens;
    sluice_limit_zone all zone=flat:64k window=1h unit=tokens;
    sluice_limit_zone all zone=bpm:64k window=1h unit=bytes;
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/proxy_cache keys_zone=c:1m;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        add_header X-Used 20 always;
        location = /bad { return 502; }
        location / { return 200 "ok\n"; }
    }
--- config
    sluice_limit_headers on;
    sluice_limit zone=rpm limit=100;
    sluice_limit zone=tpm limit=100 weight=30 settle=$upstream_http_x_used;
    sluice_limit zone=flat limit=100 weight=5;
    sluice_limit zone=bpm limit=1000 settle=$upstream_http_x_used;
    location = /look {
        sluice_limit zone=rpm limit=100 weight=0;
        sluice_limit zone=tpm limit=100 weight=0;
        sluice_limit zone=flat limit=100 weight=0;
        sluice_limit zone=bpm limit=1000 weight=0 settle=$arg_none;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location ~ ^/(t|bad)$ {
        error_page 416 = /asked;
        proxy_force_ranges on;
        proxy_cache c;
        proxy_cache_key $uri;
        proxy_cache_valid any 1h;
        proxy_cache_bypass $arg_bypass;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /asked {
        max_ranges 0;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t", "GET /look", "GET /t?bypass=1", "GET /bad", "GET /bad",
 "GET /look", "GET /t", "GET /look"]
--- more_headers eval
["", "", "", "", "", "", "", "Range: bytes=9-", ""]
--- error_code eval
[200, 200, 200, 200, 502, 502, 200, 200, 200]
--- raw_response_headers_like eval
['"rpm";r=99;', '"rpm";r=98;',
 '"rpm";r=98;t=\d+, "tpm";r=80;t=\d+, "flat";r=95;t=\d+, "bpm";r=960;',
 '"rpm";r=97;', '"rpm";r=96;', '"rpm";r=95;',
 '"rpm";r=95;t=\d+, "tpm";r=40;t=\d+, "flat";r=85;t=\d+, "bpm";r=900;',
 '"rpm";r=94;',
 '"rpm";r=94;t=\d+, "tpm";r=20;t=\d+, "flat";r=80;t=\d+, "bpm";r=880;']



=== TEST 3: nor does what the origin only says to hold, or cannot make anew
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $uri zone=tpm:64k window=1h unit=tokens;
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/proxy_cache keys_zone=c:1m;
--- user_files eval
[["same", "the file\n"], ["stale", "the other\n"], ["late", "the third\n"],
 ["hang", "x" x 9]]
--- config
    listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    sluice_limit zone=tpm limit=100 weight=30 settle=$upstream_http_x_used;
    sluice_limit_headers on;
    sluice_error_format anthropic;
    proxy_cache c;
    proxy_cache_valid 1s;
    proxy_cache_revalidate on;
    add_header X-Cache "$upstream_cache_status";
    location ~ ^/(same|stale)$ {
        proxy_cache_use_stale http_500;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /late {
        proxy_cache_use_stale updating;
        proxy_cache_background_update on;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /hang {
        limit_rate 1;
        root $TEST_NGINX_SERVER_ROOT/html;
    }
}
server {
    listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    root $TEST_NGINX_SERVER_ROOT/html;
    add_header X-Used 20 always;
    location = /stale {
        if ($http_x_fail) { return 500 "broken\n"; }
        if_modified_since off;
    }
    location = /late {
        if ($http_x_fail) { set $limit_rate 150; }
        if_modified_since off;
    }
--- request eval
["GET /same", "GET /stale", "GET /late"]
--- response_headers eval
["X-Cache: MISS", "X-Cache: MISS", "X-Cache: MISS"]
--- x_curl
-o /dev/null --max-time 2.1 http://127.0.0.1:$PORT/hang
-o /dev/null -w '%header{X-Cache} %header{anthropic-ratelimit-tokens-remaining}\n' http://127.0.0.1:$PORT/same
-o /dev/null -w '%header{X-Cache} %header{anthropic-ratelimit-tokens-remaining}\n' http://127.0.0.1:$PORT/same
-o /dev/null -w '%header{X-Cache} %header{anthropic-ratelimit-tokens-remaining}\n' -H 'X-Fail: 1' http://127.0.0.1:$PORT/stale
-o /dev/null -w '%header{X-Cache} %header{anthropic-ratelimit-tokens-remaining}\n' http://127.0.0.1:$PORT/stale
-o /dev/null -w '%header{X-Cache} %header{anthropic-ratelimit-tokens-remaining}\n' http://127.0.0.1:$PORT/stale
-o /dev/null -w '%header{X-Cache} %header{anthropic-ratelimit-tokens-remaining}\n' -H 'X-Fail: 1' http://127.0.0.1:$PORT/late
-o /dev/null -w '%header{X-Cache} %header{anthropic-ratelimit-tokens-remaining}\n' http://127.0.0.1:$PORT/late
-o /dev/null -w '%header{X-Cache} %header{anthropic-ratelimit-tokens-remaining}\n' http://127.0.0.1:$PORT/late
-o /dev/null --max-time 2.1 http://127.0.0.1:$PORT/hang
-o /dev/null -w '%header{anthropic-ratelimit-tokens-remaining}\n' http://127.0.0.1:$PORT/late
--- x_curl_out
REVALIDATED 50
HIT 50
STALE 50
EXPIRED 50
HIT 30
STALE 50
UPDATING 20
UPDATING 20
50



=== TEST 4: what sent the request to the cache has cost them
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone all zone=tpm:64k window=1h unit=tokens;
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/proxy_cache keys_zone=c:1m;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        add_header X-Used 20 always;
        location = /first { add_header X-Accel-Redirect /cached; return 200; }
        location / { return 200 "ok\n"; }
    }
--- config
    sluice_limit_headers on;
    sluice_limit zone=tpm limit=100 weight=30 settle=$upstream_http_x_used;
    location = /first {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /cached {
        proxy_cache c;
        proxy_cache_valid any 1h;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /look {
        sluice_limit zone=tpm limit=100 weight=0;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /first", "GET /first", "GET /cached", "GET /look"]
--- error_code eval
[200, 200, 200, 200]
--- raw_response_headers_like eval
['r=70', 'r=50', 'r=30', 'r=60']
