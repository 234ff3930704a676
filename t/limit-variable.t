# Why it exists: a limit may be a variable, so that plans are a map.  One
# that has no number at run time must refuse, and say so: a misspelt map must
# never let everybody through.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 40;

run_tests();

__DATA__

=== TEST 1: plans by a map; a plan of 0 has nothing, for good
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    map $arg_key $plan {
        free    1;
        team    2;
        blocked 0;
    }
    sluice_limit_zone $arg_key zone=rpm:64k window=1h;
--- config
    location = /t {
        sluice_limit zone=rpm limit=$plan;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?key=free", "GET /t?key=free", "GET /t?key=team", "GET /t?key=team",
 "GET /t?key=team", "GET /t?key=blocked"]
--- error_code eval
[200, 429, 200, 200, 429, 429]
--- raw_response_headers_like eval
['OK', "Retry-After: [1-9]", 'OK', 'OK', "Retry-After: [1-9]", 'Many']
--- raw_response_headers_unlike eval
['Retry', '1.1 200', 'Retry', 'Retry', '1.1 200', 'Retry']



=== TEST 2: empty: refused, recorded, never let through, nothing charged
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=first:64k window=1h;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
--- config
    location = /t {
        sluice_usage on;
        sluice_limit zone=first limit=10;
        sluice_limit zone=rpm limit=$arg_limit;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /t
--- error_code: 500
--- response_headers
Content-Type: application/problem+json
!Retry-After
--- response_body_like: The gateway is misconfigured
--- error_log
a limit must be a number, not ""
--- x_records
outcome=error status=500 zone=-
--- x_zone
first passed=0 refused=0
rpm passed=0 refused=0
--- x_counters
admitted=0 refused_error=1



=== TEST 3: what is no number, or too large a one
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
--- config
    location = /t {
        sluice_limit zone=rpm limit=$arg_limit;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?limit=1x", "GET /t?limit=-1", "GET /t?limit=8388609",
 "GET /t?limit=99999999999999999999", "GET /t?limit=8388608"]
--- error_code eval
[500, 500, 500, 500, 200]



=== TEST 4: a line a second about it, not one for each request
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
--- config
    location = /t {
        sluice_limit zone=rpm limit=$arg_limit;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- pipelined_requests eval
[("GET /t") x 8]
--- error_code eval
[(500) x 8]
--- x_log
1-2: a limit must be a number
