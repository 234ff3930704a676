# Why it exists: what cannot be recorded is not let through, unless the
# operator has said so; then it is counted.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 82;

run_tests();

__DATA__

=== TEST 1: one may be open, and a second one comes: refused, nothing charged
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_ring 64k on_full=reject open=1;
--- config
    sluice_usage on;
    sluice_error_format openai;
    location = /outer {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/inner;
    }
    location = /inner {
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /outer", "GET /inner"]
--- error_code eval
[503, 200]
--- raw_response_headers_like eval
["Content-Type: application/json\r\n.*Retry-After: 1\r\n", "OK"]
--- response_body_like eval
['^\{"error":\{"message":"The request cannot be accounted for now. Try again '
 . 'later.","type":"server_error","param":null,'
 . '"code":"accounting_unavailable"\}\}\r\n$', "It works"]
--- x_records
outcome=admitted status=503 uri=/outer
outcome=admitted status=200 uri=/inner
--- x_zone
rpm passed=1 refused=0
--- x_counters
admitted=2 refused_record=1 recorded=2 dropped=0 unrecorded=0



=== TEST 2: the same, dropped
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_ring 64k open=1 on_full=drop;
--- config
    sluice_usage on;
    location = /outer {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/inner;
    }
    location = /inner {
        sluice_limit zone=rpm limit=1;
        add_header X-Record "[$sluice_record]";
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /outer", "GET /inner"]
--- error_code eval
[200, 429]
--- response_headers eval
["X-Record: []", "!X-Record"]
--- x_records
outcome=admitted status=200 uri=/outer
outcome=limit status=429 uri=/inner
--- x_zone
rpm passed=1 refused=1
--- x_counters
admitted=2 refused_limit=1 recorded=2 dropped=1 refused_record=0



=== TEST 3: the ring is full of records that nobody drains
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_ring 64k open=4;
    large_client_header_buffers 4 16k;
--- config eval
'location = /t {
    sluice_usage on;
    sluice_limit zone=rpm limit=100;
    alias $TEST_NGINX_SERVER_ROOT/html/index.html;
' . CORE::join('', map { "sluice_usage_field f$_ \$http_x;\n" } 1 .. 20) . '
}
location = /denied {
    sluice_usage on;
    return 403;
}'
--- pipelined_requests eval
[("GET /t") x 30, "GET /denied"]
--- more_headers eval
"X: " . 'x' x 255
--- error_code eval
[(200) x 28, 503, 503, 403]
--- x_records eval
"outcome=admitted status=200 flags=cut\n" x 28
--- x_zone
rpm passed=28 refused=0
--- x_counters
admitted=28 refused_record=2 recorded=28 truncated=28 dropped=0 unrecorded=1



=== TEST 4: the same, dropped
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_ring 64k open=4 on_full=drop;
    large_client_header_buffers 4 16k;
--- config eval
'location = /t {
    sluice_usage on;
    alias $TEST_NGINX_SERVER_ROOT/html/index.html;
' . CORE::join('', map { "sluice_usage_field f$_ \$http_x;\n" } 1 .. 20) . '
}'
--- pipelined_requests eval
[("GET /t") x 30]
--- more_headers eval
"X: " . 'x' x 255
--- error_code eval
[(200) x 30]
--- x_records eval
"outcome=admitted status=200\n" x 28
--- x_counters
admitted=30 refused_record=0 recorded=28 dropped=2
