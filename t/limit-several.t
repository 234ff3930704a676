# Why it exists: several limits on a location are one decision.  Whoever is
# refused by one of them is charged by none.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 28;

run_tests();

__DATA__

=== TEST 1: refusals by the second limit cost nothing on the first
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=first:64k window=1h;
    sluice_limit_zone $arg_b zone=second:64k window=1h;
--- config
    location = /t {
        sluice_limit zone=first limit=3;
        sluice_limit zone=second limit=1;
        add_header X-Zone $sluice_limit_zone always;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?b=1", "GET /t?b=1", "GET /t?b=1", "GET /t?b=2", "GET /t?b=3",
 "GET /t?b=4"]
--- error_code eval
[200, 429, 429, 200, 200, 429]
--- response_headers eval
["X-Zone: ", "X-Zone: second", "X-Zone: second", "X-Zone: ", "X-Zone: ",
 "X-Zone: first"]
--- x_zone
first passed=3 refused=1
second passed=3 refused=2



=== TEST 2: and those by the first nothing on the second
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $arg_a zone=first:64k window=1h;
    sluice_limit_zone $remote_addr zone=second:64k window=1h;
--- config
    location = /t {
        sluice_limit zone=first limit=1;
        sluice_limit zone=second limit=2;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?a=1", "GET /t?a=1", "GET /t?a=1", "GET /t?a=2", "GET /t?a=3"]
--- error_code eval
[200, 429, 429, 200, 429]



=== TEST 3: over both, the one that lasts longer is named and waited for
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=minute:64k window=1m;
    sluice_limit_zone $remote_addr zone=week:64k window=7d;
    sluice_limit_zone $remote_addr zone=hour:64k window=1h;
--- config
    location = /t {
        sluice_limit zone=minute limit=1;
        sluice_limit zone=week limit=1;
        sluice_limit zone=hour limit=1;
        add_header X-Zone $sluice_limit_zone always;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 429]
--- response_headers eval
["X-Zone: ", "X-Zone: week"]
--- raw_response_headers_like eval
['OK', "Retry-After: [0-9]{5,7}\r\n"]
--- x_zone
minute passed=1 refused=1
week passed=1 refused=1
hour passed=1 refused=1



=== TEST 4: who has no key for one of them is still held to the other
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $arg_a zone=first:64k window=1h;
    sluice_limit_zone $remote_addr zone=second:64k window=1h;
--- config
    location = /t {
        sluice_limit zone=first limit=1;
        sluice_limit zone=second limit=2;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t", "GET /t"]
--- error_code eval
[200, 200, 429]
