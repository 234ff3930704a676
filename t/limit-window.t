# Why it exists: a window slides: what was charged in it counts less and less
# in the next one, and not at all after that.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 14;

run_tests();

__DATA__

=== TEST 1: after two windows all of it is free again
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rps:64k window=1s;
--- config
    location = /t {
        sluice_limit zone=rps limit=2;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /slow {
        limit_rate 200;
        alias $TEST_NGINX_SERVER_ROOT/html/slow;
    }
--- user_files eval
[["slow", "x" x 300]]
--- request eval
["GET /t", "GET /t", "GET /t", "GET /slow", "GET /t", "GET /t", "GET /t"]
--- error_code eval
[200, 200, 429, 200, 200, 200, 429]
--- raw_response_headers_like eval
["OK", "OK", "Retry-After: [12]\r\n", "OK", "OK", "OK",
 "Retry-After: [12]\r\n"]
