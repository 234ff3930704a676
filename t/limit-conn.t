# Why it exists: no more requests of one key are in flight at a time than its
# limit says, and each gives its place back however it ends.  The locations
# ask each other, so that one request holds its place while the next is asked.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 67;

our $http = '
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_conn_zone $http_x_key zone=par:64k;
';

our $chain = '
    location = /a {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/b;
    }
    location = /b {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/c;
    }
    location = /c {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
';

run_tests();

__DATA__

=== TEST 1: one too many is refused, and all give back what they had
--- http_config eval: $::http
--- config eval
"sluice_limit_conn zone=par limit=2; $::chain"
--- more_headers
X-Key: k
--- request eval
["GET /a", "GET /b", "GET /a", "GET /c", "GET /b"]
--- error_code eval
[429, 200, 429, 200, 200]
--- x_log
2: refusing request by limit "par"



=== TEST 2: enough for all
--- http_config eval: $::http
--- config eval
"sluice_limit_conn zone=par limit=3; $::chain"
--- more_headers
X-Key: k
--- request eval
["GET /a", "GET /a", "GET /a"]
--- error_code eval
[200, 200, 200]
--- no_error_log
refusing



=== TEST 3: by the key, and who has none has no limit
--- http_config eval: $::http
--- config eval
"sluice_limit_conn zone=par limit=1;
 proxy_set_header X-Key \$arg_next; $::chain"
--- request eval
["GET /b", "GET /c"]
--- more_headers eval
["", "X-Key: k"]
--- error_code eval
[200, 200]
--- x_counters
admitted=3 empty_key=2



=== TEST 4: status, zone and what the client reads
--- http_config eval: $::http
--- config
    location = /b {
        sluice_limit_conn zone=par limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/c;
        proxy_pass_header X-Zone;
    }
    location = /c {
        sluice_limit_conn zone=par limit=1 status=503;
        sluice_error_format openai;
        add_header X-Zone $sluice_limit_zone always;
        add_header X-Status $sluice_limit_status always;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- more_headers
X-Key: k
--- request eval
["GET /b", "GET /c"]
--- error_code eval
[503, 200]
--- response_headers eval
["X-Zone: par", "X-Zone: "]
--- raw_response_headers_like eval
["X-Status: REJECTED\r\n(?s).*Retry-After: 1\r\n|Retry-After: 1\r\n(?s).*X-Status: REJECTED\r\n",
 "X-Status: PASSED\r\n"]
--- response_body_like eval
['"code":"rate_limit_exceeded"', '.']



=== TEST 5: a dry run refuses nobody
--- http_config eval: $::http
--- config eval
"sluice_limit_conn zone=par limit=1 dry_run;
 add_header X-Status \$sluice_limit_status; $::chain"
--- more_headers
X-Key: k
--- request eval
["GET /a", "GET /c"]
--- error_code eval
[200, 200]
--- raw_response_headers_like eval
["X-Status: REJECTED_DRY_RUN\r\n", "X-Status: PASSED\r\n"]
--- x_log
2: refusing request by limit "par", dry run



=== TEST 6: a window that is full gives the place back
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_conn_zone $http_x_key zone=par:64k;
    sluice_limit_zone $http_x_key zone=rpm:64k window=1h;
--- config
    location = /c {
        sluice_limit_conn zone=par limit=1;
        sluice_limit zone=rpm limit=2;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /d {
        sluice_limit_conn zone=par limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- more_headers
X-Key: k
--- request eval
["GET /c", "GET /c", "GET /c", "GET /c", "GET /d"]
--- error_code eval
[200, 200, 429, 429, 200]
--- x_zone
rpm passed=2 refused=2



=== TEST 7: and a place that is not to be had costs nothing in the window
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_conn_zone $http_x_key zone=par:64k;
    sluice_limit_zone $http_x_key zone=rpm:64k window=1h;
--- config
    sluice_limit_conn zone=par limit=1;
    location = /b {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/c;
    }
    location = /c {
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- more_headers
X-Key: k
--- request eval
["GET /b", "GET /b", "GET /c", "GET /c"]
--- error_code eval
[429, 429, 200, 429]
--- x_zone
rpm passed=1 refused=1



=== TEST 8: the limit is a variable
--- http_config eval: $::http
--- config eval
"sluice_limit_conn zone=par limit=\$http_x_limit; $::chain"
--- request eval
["GET /a", "GET /a", "GET /c", "GET /c"]
--- more_headers eval
["X-Key: k\nX-Limit: 3", "X-Key: k\nX-Limit: 2", "X-Key: k\nX-Limit: 0",
 "X-Key: k\nX-Limit: many"]
--- error_code eval
[200, 429, 429, 500]
--- x_log
1: a limit must be a number, not "many"



=== TEST 9: a redirect takes no second place of the same zone
--- http_config eval: $::http
--- config
    sluice_limit_conn zone=par limit=1;
    location = /r {
        try_files /none /c;
    }
    location = /c {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- more_headers
X-Key: k
--- request eval
["GET /r", "GET /r"]
--- error_code eval
[200, 200]



=== TEST 10: the record tells which zone it was
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_conn_zone $http_x_key zone=par:64k;
    sluice_usage on;
--- config
    location = /c {
        sluice_limit_conn zone=par limit=$http_x_limit;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- more_headers
X-Key: k
X-Limit: 0
--- request
GET /c
--- error_code: 429
--- x_records
outcome=limit status=429 zone=par uri=/c



=== TEST 11: the client is told, beside its windows
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_conn_zone $http_x_key zone=par:64k;
    sluice_limit_zone $http_x_key zone=rpm:64k window=1h;
--- config
    sluice_limit_headers on;
    sluice_limit_conn zone=par limit=2;
    location = /a {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/b;
        proxy_hide_header RateLimit;
    }
    location = /b {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/c;
    }
    location = /c {
        sluice_limit zone=rpm limit=5;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- more_headers
X-Key: k
--- request eval
["GET /c", "GET /b", "GET /a"]
--- error_code eval
[200, 200, 429]
--- raw_response_headers_like eval
['RateLimit-Policy: "rpm";q=5;w=3600, "par";q=2;qu="concurrent-requests"\r\nRateLimit: "rpm";r=4;t=[0-9]{4}, "par";r=1\r\n',
 'RateLimit-Policy: "par";q=2;qu="concurrent-requests"\r\nRateLimit: "par";r=1\r\n',
 'RateLimit: "par";r=1\r\n']



=== TEST 12: a dry run before a redirect neither decides for a limit in force nor stands in its way
--- http_config eval: $::http
--- config
    location = /a {
        sluice_limit_conn zone=par limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/r;
    }
    location = /r {
        sluice_limit_conn zone=par limit=1 dry_run;
        try_files /none /c;
    }
    location = /c {
        sluice_limit_conn zone=par limit=1;
        add_header X-Status $sluice_limit_status;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- more_headers
X-Key: k
--- request eval
["GET /a", "GET /r", "GET /a", "GET /c"]
--- error_code eval
[429, 200, 429, 200]
--- response_headers eval
["X-Status: ", "X-Status: PASSED", "X-Status: ", "X-Status: PASSED"]



=== TEST 13: nor for an upstream that is asked instead of a refusal
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_conn_zone $http_x_key zone=par:64k;
    sluice_limit_zone $http_x_key zone=rpm:64k window=1h;
--- config
    location = /a {
        sluice_limit_conn zone=par limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/t;
    }
    location = /t {
        sluice_limit_conn zone=par limit=1 dry_run;
        sluice_limit zone=rpm limit=$arg_n;
        error_page 429 500 = @cheap;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location @cheap {
        sluice_limit_conn zone=par limit=1;
        rewrite ^ /c break;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT;
    }
    location = /c {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- more_headers
X-Key: k
--- request eval
["GET /t?n=0", "GET /a", "GET /a?n=0", "GET /t?n=0", "GET /t"]
--- error_code eval
[200, 429, 429, 200, 200]
