# Why it exists: an answer that the upstream says has not changed, or that is
# stale and better than an error, comes from the cache behind a try with a key;
# and what comes from the cache keeps no key from others while it is sent.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 20;

run_tests();

__DATA__

=== TEST 1: revalidated, and stale
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; }
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/proxy_cache keys_zone=c:1m;
--- user_files eval
[["t", "the file\n"], ["stale", "the other\n"], ["hang", "x" x 9]]
--- config
    listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    proxy_set_header Authorization $sluice_key;
    location ~ ^/(t|stale)$ {
        sluice_key p;
        proxy_cache c;
        proxy_cache_valid 1s;
        proxy_cache_revalidate on;
        proxy_cache_use_stale http_500;
        add_header X-Cache "$upstream_cache_status";
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
    location = /stale {
        if ($http_x_fail) { return 500 "broken\n"; }
    }
--- request eval
["GET /t", "GET /stale"]
--- response_headers eval
["X-Cache: MISS", "X-Cache: MISS"]
--- x_curl
-o /dev/null --max-time 2.1 http://127.0.0.1:$PORT/hang
-w '%header{X-Cache} %{http_code}\n' http://127.0.0.1:$PORT/t
-w '%header{X-Cache} %{http_code}\n' -H 'X-Fail: 1' http://127.0.0.1:$PORT/stale
--- x_curl_out
the file
REVALIDATED 200
the other
STALE 200
--- x_members
p a used=4 in_flight=0



=== TEST 2: what is revalidated has cost no tokens
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a tokens=100/1h; }
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/proxy_cache keys_zone=c:1m;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        root $TEST_NGINX_SERVER_ROOT/html;
        add_header X-Used 30;
    }
--- user_files eval
[["t", "the file\n"], ["u", "the other\n"], ["hang", "x" x 9]]
--- config
    sluice_key p tokens=$arg_est settle=$upstream_http_x_used;
    proxy_set_header Authorization $sluice_key;
    location = /t {
        proxy_cache c;
        proxy_cache_valid 1s;
        proxy_cache_revalidate on;
        add_header X-Cache "$upstream_cache_status";
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /u {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /hang {
        sluice_key off;
        limit_rate 1;
        root $TEST_NGINX_SERVER_ROOT/html;
    }
--- request
GET /t?est=40
--- response_headers
X-Cache: MISS
--- x_curl
-o /dev/null --max-time 2.1 http://127.0.0.1:$SERVER/hang
-w '%header{X-Cache} %{http_code}\n' http://127.0.0.1:$SERVER/t?est=40
-w '%{http_code}\n' -o /dev/null http://127.0.0.1:$SERVER/u?est=71
-w '%{http_code}\n' http://127.0.0.1:$SERVER/u?est=70
--- x_curl_out
the file
REVALIDATED 200
429
the other
200



=== TEST 3: the only place of a key, and a slow client of the cache
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a max_conns=1; }
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/proxy_cache keys_zone=c:1m;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        root $TEST_NGINX_SERVER_ROOT/html;
    }
--- user_files eval
[["t", "x" x 3000], ["u", "the other\n"]]
--- config
    sluice_key p;
    proxy_set_header Authorization $sluice_key;
    location = /t {
        if ($http_x_slow) { set $limit_rate 2000; }
        proxy_cache c;
        proxy_cache_valid 1m;
        add_header X-Cache "$upstream_cache_status";
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /u {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /t
--- response_headers
X-Cache: MISS
--- x_curl
-o /dev/null -w '%header{X-Cache}\n' http://127.0.0.1:$SERVER/t
+0 -o /dev/null -w '%header{X-Cache}\n' -H 'X-Slow: 1' http://127.0.0.1:$SERVER/t
+300 -w '%{http_code}\n' http://127.0.0.1:$SERVER/u
--- x_curl_out
HIT
HIT
the other
200
--- x_members
p a used=2 in_flight=0



=== TEST 4: the key is in no key of the cache
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; key sk-2 id=b; }
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/proxy_cache keys_zone=c:1m;
--- config
    location = /t {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_cache c;
        proxy_cache_valid 1m;
        proxy_cache_key $uri$sluice_key;
        add_header X-Cache "$upstream_cache_status";
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
}
server {
    listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    return 200 "$http_authorization\n";
--- request eval
["GET /t", "GET /t"]
--- response_headers eval
["X-Cache: MISS", "X-Cache: HIT"]
--- response_body_like eval
["sk-[12]", "sk-[12]"]
--- x_log
1-2: a cache's key has $sluice_key, and is without it: pool "p"
