# Why it exists: the page that answers a refusal, or an error, is free, but what
# goes to an upstream instead of one is not: it is limited, has a key and is
# recorded; and a refusal is told as what it is, wherever a redirect has led.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 95;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', ($block->http_config // '') . '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
        sluice_limit_zone $remote_addr zone=other:64k window=1h;
        sluice_key_pool p { key sk-p id=a; }
        sluice_key_pool q { key sk-q id=b; }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            location = /bad { return 502; }
            add_header Retry-After 77 always;
            location = /wait { return 503; }
            location = /denied { return 401; }
            location = /later { return 200; }
            location = /slow { limit_rate 100; return 200 "$request_id$request_id$request_id$request_id"; }
            location / { return 200 "for $http_authorization\n"; }
        }
    ');
});

run_tests();

__DATA__

=== TEST 1: a cheaper upstream instead of a refusal has its own limit and key
--- config
    location = /t {
        sluice_usage on;
        sluice_key p;
        sluice_limit zone=rpm limit=1;
        error_page 429 = @cheap;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location @cheap {
        sluice_key q;
        sluice_limit zone=other limit=1;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t", "GET /t"]
--- response_body_like eval
["for sk-p", "for sk-q", "Rate limit reached"]
--- error_code eval
[200, 200, 429]
--- x_zone
rpm passed=1 refused=2
other passed=1 refused=1



=== TEST 2: no room for a record: nothing goes to an upstream without one
--- http_config
    sluice_ring 64k open=1;
--- config
    location = /outer {
        sluice_usage on;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/inner;
    }
    location = /inner {
        sluice_usage on;
        sluice_key p;
        error_page 503 = @backup;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location @backup {
        sluice_usage on;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /outer
--- error_code: 503
--- response_body_like: cannot be accounted for
--- error_log
refusing request, no room for its record
--- x_counters
admitted=1 recorded=1 refused_record=2



=== TEST 3: what an upstream was asked for is recorded, though refused later
--- config
    sluice_usage on refused=off;
    location = /bad {
        sluice_key p;
        error_page 502 = @backup;
        proxy_intercept_errors on;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        proxy_set_header Authorization $sluice_key;
    }
    location @backup {
        sluice_limit zone=rpm limit=1;
        root $TEST_NGINX_SERVER_ROOT/html;
        try_files /index.html =404;
    }
--- request eval
["GET /bad", "GET /bad"]
--- error_code eval
[200, 429]
--- x_records
outcome=admitted key=a tries=1
outcome=limit key=a tries=1



=== TEST 4: wrong passwords do not use up a client's limit
--- config
    sluice_key p;
    sluice_limit zone=rpm limit=1;
    error_page 401 /401.html;
    location = /t {
        auth_basic closed;
        auth_basic_user_file $TEST_NGINX_SERVER_ROOT/html/users;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /401.html {
        alias $TEST_NGINX_SERVER_ROOT/html/users;
    }
--- user_files
>>> users
u:{PLAIN}p
--- request eval
["GET /t", "GET /t", "GET /t"]
--- more_headers eval
["Authorization: Basic dTp3", "Authorization: Basic dTp3",
 "Authorization: Basic dTpw"]
--- error_code eval
[401, 401, 200]
--- x_zone
rpm passed=1 refused=0



=== TEST 5: a refusal is not sent with the status of what led to it
--- config
    location = /t {
        error_page 404 =200 @limited;
        return 404;
    }
    location @limited {
        sluice_limit zone=rpm limit=1;
        try_files /index.html =404;
        root $TEST_NGINX_SERVER_ROOT/html;
    }
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 429]
--- response_body_like eval
["It works", "Rate limit reached"]



=== TEST 6: a refusal within an error page has the client's dialect
--- config
    sluice_error_format openai;
    error_page 404 = @limited;
    error_page 429 /429.html;
    location = /t {
        return 404;
    }
    location @limited {
        sluice_limit zone=rpm limit=1;
        root $TEST_NGINX_SERVER_ROOT/html;
        try_files /index.html =404;
    }
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 429]
--- response_body_like eval
["It works", "rate_limit_exceeded"]



=== TEST 7: a key asked for before admission is empty, and nothing goes out
--- config
    location = /t {
        set $auth "Bearer $sluice_key";
        sluice_key p;
        proxy_set_header Authorization $auth;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /t
--- error_code: 500
--- error_log
$sluice_key was asked for before admission, and is empty: pool "p"



=== TEST 8: Retry-After goes with the refusal, whatever answers instead
--- config
    sluice_error_format openai;
    location /t/ {
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/;
        location = /t/return { error_page 429 = /busy; }
        location = /t/named  { error_page 429 = @busy; }
        location = /t/file   { error_page 429 =200 /index.html; }
        location = /t/wait   { error_page 429 = @upstream; }
        location = /t/later  { error_page 429 = @upstream; }
        location = /t/same   { error_page 429 = /limited; }
        location = /t/kept   { error_page 429 =503 /index.html; }
    }
    location = /busy    { return 200 "busy\n"; }
    location @busy      { return 204; }
    location = /limited { return 429 "limited\n"; }
    location @upstream {
        rewrite ^/t/(.*) /$1 break;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /first {
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /first", "GET /t/return", "GET /t/named", "GET /t/file", "GET /t/same",
 "GET /t/kept", "GET /t/wait", "GET /t/later"]
--- error_code eval
[200, 200, 204, 200, 429, 503, 503, 200]
--- raw_response_headers_unlike eval
["Retry-After", "Retry-After", "Retry-After", "Retry-After", "Nothing",
 "Nothing", "Retry-After: (?!77)", "Retry-After: (?!77)"]
--- raw_response_headers_like eval
["", "", "", "", "Retry-After", "Retry-After", "Retry-After: 77",
 "Retry-After: 77"]



=== TEST 9: so it does where the client is sent elsewhere
--- config
    location = /t {
        sluice_limit zone=rpm limit=1;
        error_page 429 http://127.0.0.1/;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 302]
--- raw_response_headers_unlike eval
["Retry-After", "Retry-After"]



=== TEST 10: and stays where the answer is a refusal still
--- config
    location = /t {
        sluice_limit zone=rpm limit=1;
        error_page 429 = /limited;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /limited { return 429 "limited\n"; }
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 429]
--- raw_response_headers_like eval
["", "Retry-After: \\d+"]



=== TEST 11: what an upstream is asked for instead of an error
--- config
    location = /e404 {
        error_page 404 @app;
        alias $TEST_NGINX_SERVER_ROOT/html/none;
    }
    location = /passed {
        error_page 404 = @app;
        alias $TEST_NGINX_SERVER_ROOT/html/none;
    }
    location @app {
        sluice_usage on;
        sluice_limit zone=rpm limit=2;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /e404", "GET /passed", "GET /e404", "GET /passed"]
--- error_code eval
[404, 200, 429, 429]
--- response_body_like eval
["for sk-p", "for sk-p", "Rate limit reached", "Rate limit reached"]
--- x_zone
rpm passed=2 refused=2
--- x_records
outcome=admitted status=404 uri=/e404 key=a tries=1 flags=-
outcome=admitted status=200 uri=/passed key=a tries=1 flags=-
outcome=limit status=429 uri=/e404 tries=0
outcome=limit status=429 uri=/passed tries=0
--- x_counters
admitted=2 refused_limit=2



=== TEST 12: a page for those who have not logged in
--- config
    location = /t {
        auth_request /auth;
        error_page 401 /login;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /auth {
        internal;
        sluice_limit zone=other limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/denied;
    }
    location = /login {
        sluice_limit zone=rpm limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /free {
        auth_request /auth;
        error_page 401 /page;
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /page {
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /free", "GET /t", "GET /t", "GET /free"]
--- error_code eval
[401, 401, 429, 401]
--- response_body_like eval
["It works", "for", "Rate limit reached", "It works"]
--- x_zone
rpm passed=1 refused=1
other passed=0 refused=0



=== TEST 13: it is refused once, not again by the page of its refusal
--- config
    recursive_error_pages on;
    error_page 404 @app;
    error_page 429 @again;
    location @app {
        sluice_limit zone=rpm limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location @again {
        sluice_limit zone=rpm limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location @refuse {
        sluice_limit zone=rpm limit=1;
        sluice_limit zone=other limit=1;
        error_page 429 @refuse;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /t {
        alias $TEST_NGINX_SERVER_ROOT/html/none;
    }
    location = /refuse {
        error_page 404 @refuse;
        alias $TEST_NGINX_SERVER_ROOT/html/none;
    }
--- request eval
["GET /t", "GET /t", "GET /refuse"]
--- error_code eval
[404, 429, 429]
--- response_body_like eval
["for ", "for ", "for "]
--- x_zone
rpm passed=1 refused=2
other passed=0 refused=0



=== TEST 14: what was no request, and goes to an upstream
--- config
    sluice_usage on;
    sluice_limit zone=rpm limit=1;
    error_page 400 = /app;
    location = /app {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- raw_request eval
"nonsense\r\n\r\n"
--- ignore_response
--- x_records
outcome=admitted key=a tries=1
--- x_zone
rpm passed=1 refused=0



=== TEST 15: who is let through elsewhere is told what decided there
--- http_config
    sluice_key_pool dead { key sk-dead id=d limit=1/1h; }
    sluice_limit_zone $remote_addr zone=third:64k window=1h;
--- config
    sluice_limit_headers on;
    proxy_set_header Authorization $sluice_key;
    location = /t {
        sluice_key dead;
        sluice_limit zone=rpm limit=10;
        sluice_limit zone=third limit=3;
        error_page 429 = @cheap;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location @cheap {
        sluice_limit zone=rpm limit=100;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 200]
--- raw_response_headers_like eval
['RateLimit: "rpm";r=9;t=\d+, "third";r=2;',
 'RateLimit-Policy: "rpm";q=100;w=3600\r\nRateLimit: "rpm";r=98;t=\d+\r\n']



=== TEST 16: a place that an error gave back is taken elsewhere
--- http_config
    sluice_limit_conn_zone $remote_addr zone=par:64k;
--- config
    location = /t {
        sluice_limit_conn zone=par limit=1;
        sluice_limit zone=rpm limit=$arg_l;
        error_page 500 = @slow;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location @slow {
        sluice_limit_conn zone=par limit=1;
        rewrite ^ /slow break;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- x_curl
+0 -o /dev/null -w '%{http_code}\n' http://127.0.0.1:$SERVER/t?l=junk
+200 -o /dev/null -w '%{http_code}\n' http://127.0.0.1:$SERVER/t?l=junk
--- x_curl_out
200
429
--- request
GET /t?l=5
--- error_code: 200
