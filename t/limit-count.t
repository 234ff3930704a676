# Why it exists: a limit of N lets exactly N requests of a key through in a
# window, and tells the next one when to come again.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 33;

run_tests();

__DATA__

=== TEST 1: three of five
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
--- config
    sluice_limit zone=rpm limit=3;
    location /t {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t?2", "HEAD /t", "GET /t", "GET /t"]
--- error_code eval
[200, 200, 200, 429, 429]
--- raw_response_headers_like eval
['OK', 'OK', 'OK', "Retry-After: (?:1[2-9]|[23].|4[0-8])..\r\n", "Retry-After: [1-4]"]
--- raw_response_headers_unlike eval
['Retry-After', 'Retry-After', 'Retry-After', 'OK', 'OK']
--- grep_error_log eval: qr/refusing request by limit "\w+"/
--- grep_error_log_out eval
qr/^(?:refusing request by limit "rpm"\n)?$/
--- x_zone
rpm passed=3 refused=2
--- x_counters
admitted=3 refused_limit=2 recorded=0



=== TEST 2: a connection kept, and one line for each refusal
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
--- config
    location /t {
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- pipelined_requests eval
["GET /t", "GET /t", "GET /t"]
--- error_code eval
[200, 429, 429]
--- response_body_like eval
['It works', 'Too Many Requests', 'Too Many Requests']
--- x_log
2: refusing request by limit "rpm"



=== TEST 3: a location of its own limit, another without
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_limit_zone $remote_addr zone=other:64k window=1h;
--- config
    sluice_limit zone=rpm limit=1;
    location = /other {
        sluice_limit zone=other limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /t {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /other", "GET /other", "GET /t"]
--- error_code eval
[200, 200, 429, 429]
