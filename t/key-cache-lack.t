# Why it exists: what is in a cache needs no key, so it is served when none is
# to be had; and what is not there is refused as it would be without a cache,
# before anything is sent.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 90;

add_block_preprocessor(sub {
    my $block = shift;

    # answers 402 to /spend, which exhausts the only key until it is enabled

    $block->set_value('http_config', $block->http_config . <<'_EOC_');
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/proxy_cache keys_zone=c:1m;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        location / { return 200 "$uri $http_authorization\n"; }
        location = /v/spend { return 402; }
        location = /v/long { return 200 "${uri}_____________________________$uri$uri$uri$uri$uri$uri$uri$uri$uri$uri$uri$uri$uri$uri"; }
    }
_EOC_
});

no_shuffle();
run_tests();

__DATA__

=== TEST 1: served from the cache; what is not there is refused, uncharged
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; }
    sluice_limit_zone $server_port zone=z:1m window=1h;
    sluice_limit_conn_zone $server_port zone=n:1m;
--- config
    location /v/ {
        sluice_key p;
        sluice_limit zone=z limit=4;
        sluice_limit_conn zone=n limit=1;
        sluice_usage on;
        proxy_set_header Authorization $sluice_key;
        proxy_cache c;
        proxy_cache_valid 200 1h;
        add_header X-Cache "$upstream_cache_status" always;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /v/t", "GET /v/spend", "GET /v/t", "GET /v/u", "GET /v/u", "GET /v/t",
 "GET /v/t"]
--- error_code eval
[200, 402, 200, 503, 503, 200, 429]
--- response_headers eval
["X-Cache: MISS", "X-Cache: MISS", "X-Cache: HIT\nRetry-After: ",
 "X-Cache: MISS\nRetry-After: 86400", "X-Cache: MISS", "X-Cache: HIT",
 "X-Cache: "]
--- response_body_like eval
["/v/t sk-1", "402", "/v/t sk-1", "No upstream key", "No upstream key",
 "/v/t sk-1", "limit"]
--- x_records
outcome=admitted status=200 keys=200@a
outcome=admitted status=402 keys=402@a
outcome=admitted status=200 keys=-
outcome=no_key status=503 keys=-
outcome=no_key status=503 keys=-
outcome=admitted status=200 keys=-
outcome=limit status=429 keys=-
--- x_counters
admitted=4 refused_key=2 refused_limit=1
--- x_members
p a state=exhausted used=2 in_flight=0
--- x_log
2: refusing request, no key of pool "p" is well
0: asked for before admission
0: without its key



=== TEST 2: on one connection
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; }
--- config
    location /v/ {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_cache c;
        proxy_cache_valid 200 1h;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /v/t", "GET /v/spend"]
--- error_code eval
[200, 402]
--- x_curl
-w '%{http_code} %{num_connects}\n' -o /dev/null -o /dev/null -o /dev/null -d some -d body http://127.0.0.1:$SERVER/v/u http://127.0.0.1:$SERVER/v/t http://127.0.0.1:$SERVER/v/u
-w '%{http_code} %{num_connects}\n' -o /dev/null -o /dev/null -o /dev/null http://127.0.0.1:$SERVER/v/u http://127.0.0.1:$SERVER/v/t http://127.0.0.1:$SERVER/v/u
--- x_curl_out
503 1
503 0
503 0
503 1
200 0
503 0



=== TEST 3: what has expired, where the operator has it so
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; }
--- user_files eval
[["hang", "x" x 9]]
--- config
    sluice_key p;
    sluice_usage on;
    proxy_set_header Authorization $sluice_key;
    proxy_cache c;
    proxy_cache_valid 200 1s;
    add_header X-Cache "$upstream_cache_status" always;
    location = /v/t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /v/stale {
        proxy_cache_use_stale error;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /v/later {
        proxy_cache_use_stale updating;
        proxy_cache_background_update on;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /v/spend {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /hang {
        sluice_key off;
        sluice_usage off;
        limit_rate 1;
        root $TEST_NGINX_SERVER_ROOT/html;
    }
--- request eval
["GET /v/t", "GET /v/stale", "GET /v/later", "GET /v/spend"]
--- error_code eval
[200, 200, 200, 402]
--- x_curl
-o /dev/null --max-time 2.1 http://127.0.0.1:$SERVER/hang
-w '%header{X-Cache} %{http_code} %header{Retry-After}\n' -o /dev/null http://127.0.0.1:$SERVER/v/t
-w '%header{X-Cache} %{http_code} %header{Retry-After}\n' http://127.0.0.1:$SERVER/v/stale
-w '%header{X-Cache} %{http_code} %header{Retry-After}\n' http://127.0.0.1:$SERVER/v/later
--- x_curl_out
EXPIRED 503 86398
/v/stale sk-1
STALE 200 
/v/later sk-1
STALE 200 
--- x_records
outcome=admitted status=200
outcome=admitted status=200
outcome=admitted status=200
outcome=admitted status=402
outcome=no_key status=503
outcome=admitted status=200
outcome=admitted status=200
--- x_members
p a state=exhausted used=4 in_flight=0
--- x_log
1: refusing request, no key of pool "p" is well
1: refusing subrequest, no key of pool "p" is well



=== TEST 4: who waits for another one's answer has it without a key
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a max_conns=1; }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        location / {
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            proxy_set_header Authorization $http_authorization;
            limit_rate 100;
        }
    }
--- config
    location /v/ {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_cache c;
        proxy_cache_valid 200 1h;
        proxy_cache_lock on;
        proxy_no_cache $arg_no;
        add_header X-Cache "$upstream_cache_status" always;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
--- request
GET /v/t
--- error_code: 200
--- x_curl
+0 -w '%header{X-Cache} %{http_code}\n' -o /dev/null http://127.0.0.1:$SERVER/v/padded
+300 -w '%header{X-Cache} %{http_code}\n' -o /dev/null http://127.0.0.1:$SERVER/v/padded
+300 -w '%header{X-Cache} %{http_code}\n' -o /dev/null http://127.0.0.1:$SERVER/v/t
+300 -w '%header{X-Cache} %{http_code}\n' -o /dev/null http://127.0.0.1:$SERVER/v/u
+2600 -w '%header{X-Cache} %{http_code}\n' -o /dev/null http://127.0.0.1:$SERVER/v/padded?no=1
+2900 -w '%header{X-Cache} %{http_code}\n' -o /dev/null http://127.0.0.1:$SERVER/v/padded?no=1
--- x_curl_out
MISS 200
HIT 200
HIT 200
MISS 503
MISS 200
MISS 503
--- x_members
p a used=3 in_flight=0



=== TEST 5: to other locations, as without a cache
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; }
    sluice_key_pool q { key sk-2 id=b; }
--- config
    location /v/ {
        sluice_key p;
        sluice_usage on;
        proxy_set_header Authorization $sluice_key;
        proxy_cache c;
        proxy_cache_valid 200 1h;
        add_header X-Cache "$upstream_cache_status" always;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;

        location /v/other/ {
            error_page 503 = @other;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
        location /v/same/ {
            error_page 503 = @same;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
        location /v/plain/ {
            proxy_cache off;
            error_page 503 = @same;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
        location /v/page/ {
            error_page 503 /page;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
    }
    location @other {
        sluice_key q;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location @same {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /page { return 200 "come back\n"; }
--- request eval
["GET /v/spend", "GET /v/other/u", "GET /v/same/u", "GET /v/plain/u",
 "GET /v/page/u"]
--- error_code eval
[402, 200, 500, 500, 503]
--- response_body_like eval
["402", "/v/other/u sk-2", "500", "500", "come back"]
--- x_records
outcome=admitted status=402 keys=402@a
outcome=no_key status=200 keys=200@b
outcome=no_key status=500 keys=-
outcome=no_key status=500 keys=-
outcome=no_key status=503 keys=-
--- x_members
p a state=exhausted used=1 in_flight=0
q b state=healthy used=1 in_flight=0



=== TEST 6: an upstream that is known only at run time is asked for nothing
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; }
--- config
    set $port $TEST_NGINX_RAND_PORT_1;
    location /v/ {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_cache c;
        proxy_cache_valid 200 1h;
        add_header X-Cache "$upstream_cache_status" always;
        proxy_pass http://127.0.0.1:$port;
    }
--- request eval
["GET /v/t", "GET /v/spend", "GET /v/t", "GET /v/u"]
--- error_code eval
[200, 402, 503, 503]
--- response_headers eval
["X-Cache: MISS", "X-Cache: MISS", "X-Cache: ", "X-Cache: "]



=== TEST 7: nor is the key in the key of the cache then
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; }
--- config
    location /v/ {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_cache c;
        proxy_cache_key $uri$sluice_key;
        proxy_cache_valid 200 1h;
        add_header X-Cache "$upstream_cache_status" always;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /v/t", "GET /v/spend", "GET /v/t", "GET /v/u"]
--- error_code eval
[200, 402, 200, 503]
--- response_headers eval
["X-Cache: MISS", "X-Cache: MISS", "X-Cache: HIT", "X-Cache: MISS"]
--- x_log
1-4: a cache's key has $sluice_key, and is without it: pool "p"
0: asked for before admission
0: without its key



=== TEST 8: the refused ones are not recorded, if that is said
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; }
--- config
    location /v/ {
        sluice_key p;
        sluice_usage on refused=off;
        proxy_set_header Authorization $sluice_key;
        proxy_cache c;
        proxy_cache_valid 200 1h;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /v/t", "GET /v/spend", "GET /v/u", "GET /v/t"]
--- error_code eval
[200, 402, 503, 200]
--- x_records
outcome=admitted status=200 keys=200@a
outcome=admitted status=402 keys=402@a
outcome=admitted status=200 keys=-



=== TEST 9: what answers instead is charged, and has a place
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; }
    sluice_limit_zone $server_port zone=z:1m window=1h;
    sluice_limit_conn_zone $server_port zone=n:1m;
--- config
    sluice_limit zone=z limit=4;
    sluice_limit_conn zone=n limit=1;
    location /v/ {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_cache c;
        proxy_cache_valid 200 1h;
        error_page 503 = @other;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location @other {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        limit_rate $arg_rate;
    }
--- request eval
["GET /v/t", "GET /v/spend"]
--- error_code eval
[200, 402]
--- x_curl
+0 -o /dev/null -w '%{http_code}\n' http://127.0.0.1:$SERVER/v/long?rate=100
+300 -o /dev/null -w '%{http_code}\n' http://127.0.0.1:$SERVER/v/t
+4500 -o /dev/null -w '%{http_code}\n' http://127.0.0.1:$SERVER/v/t
+4700 -o /dev/null -w '%{http_code}\n' http://127.0.0.1:$SERVER/v/t
--- x_curl_out
200
429
200
429



=== TEST 10: who would go elsewhere with what he has inherited is refused at once
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; }
--- config
    set $port $TEST_NGINX_RAND_PORT_1;
    sluice_key p;
    proxy_set_header Authorization $sluice_key;
    scgi_param KEY "k$sluice_key";
    proxy_cache c;
    proxy_cache_valid 200 1h;
    location /v/ {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        if ($arg_other) {
            scgi_pass 127.0.0.1:$port;
        }
    }
    location /v/both/ {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        scgi_pass 127.0.0.1:$port;
    }
--- request eval
["GET /v/spend", "GET /v/u?other=1", "GET /v/both/u", "GET /v/u"]
--- error_code eval
[402, 503, 500, 503]
--- x_log
0: sent invalid header
0: upstream prematurely closed
--- x_members
p a state=exhausted used=1 in_flight=0



=== TEST 11: no cache has an answer to a POST, so its body is not waited for
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; }
--- config
    location /v/ {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_cache c;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /v/spend
--- error_code: 402
--- x_curl
-o /dev/null -w '%{http_code}\n' --max-time 2 -d x -H 'Content-Length: 20' http://127.0.0.1:$SERVER/v/u
--- x_curl_out
503



=== TEST 12: a slice of an address that nobody's peer.init knows
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a limit=2/1h; }
    log_format sent '$http_range <$http_authorization>';
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        root $TEST_NGINX_SERVER_ROOT/html;
        access_log $TEST_NGINX_SERVER_ROOT/logs/sent.log sent;
    }
--- user_files eval
[["long", "x" x 4000]]
--- config
    set $port $TEST_NGINX_RAND_PORT_2;
    location = /long {
        sluice_key p;
        slice 1k;
        proxy_set_header Range $slice_range;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$port;
    }
    location = /sent {
        alias $TEST_NGINX_SERVER_ROOT/logs/sent.log;
    }
--- request
GET /sent
--- response_body
--- x_curl
-o /dev/null http://127.0.0.1:$SERVER/long
http://127.0.0.1:$SERVER/sent
--- x_curl_out
bytes=0-1023 <sk-1>
bytes=1024-2047 <sk-1>
--- x_log
1: no port in upstream
0: asked for before admission

