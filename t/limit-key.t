# Why it exists: a zone counts by whatever its key is made of, each value for
# itself, and who has no key has no limit, as with limit_req.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 75;

run_tests();

__DATA__

=== TEST 1: by client
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $sluice_client zone=rpm:64k window=1h;
--- config
    location = /t {
        sluice_client $http_authorization;
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t", "GET /t", "GET /t", "GET /t", "GET /t"]
--- more_headers eval
["Authorization: Bearer a", "Authorization: Bearer b",
 "Authorization: Bearer a", "Authorization: Bearer b",
 "", "Authorization:"]
--- error_code eval
[200, 200, 429, 429, 200, 200]
--- x_counters
admitted=4 refused_limit=2 empty_key=2



=== TEST 2: by a text of several variables
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $sluice_client:$arg_model zone=rpm:64k window=1h;
--- config
    location = /t {
        sluice_client $arg_key;
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?key=a&model=x", "GET /t?key=a&model=y", "GET /t?key=b&model=x",
 "GET /t?key=a&model=x", "GET /t?key=b&model=y"]
--- error_code eval
[200, 200, 200, 429, 200]



=== TEST 3: by a map, which is empty for those who are not limited
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    map $arg_key $limited {
        vip     "";
        default $arg_key;
    }
    sluice_limit_zone $limited zone=rpm:64k window=1h;
--- config
    location = /t {
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?key=vip", "GET /t?key=vip", "GET /t?key=a", "GET /t?key=a"]
--- error_code eval
[200, 200, 200, 429]



=== TEST 4: by the address, and by nothing that has a value at all
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $binary_remote_addr zone=addr:64k window=1h;
    sluice_limit_zone everybody zone=all:64k window=1h;
--- config
    location = /t {
        sluice_limit zone=addr limit=2;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /all {
        sluice_limit zone=all limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t", "GET /t", "GET /all", "GET /all"]
--- error_code eval
[200, 200, 429, 200, 429]



=== TEST 5: a key of one byte, of 64 KB, and all but the last byte of it
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    large_client_header_buffers 4 128k;
    sluice_limit_zone $http_x_key zone=rpm:64k window=1h;
--- config
    location = /t {
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
[("GET /t") x 10]
--- more_headers eval
["X-Key: a", "X-Key: b", "X-Key: a",
 "X-Key: " . "k" x 65536, "X-Key: " . "k" x 65536, "X-Key: " . "k" x 65535,
 "X-Key: " . "k" x 65535 . "l", "X-Key: l" . "k" x 65535,
 "X-Key: " . "k" x 65535 . "l", "X-Key: l" . "k" x 65535]
--- error_code eval
[200, 200, 429, 200, 429, 200, 200, 200, 429, 429]
--- x_counters
admitted=6 empty_key=0



=== TEST 6: keys of every length about the hash's words
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $http_x_key zone=rpm:64k window=1h;
--- config
    location = /t {
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
[("GET /t") x 36]
--- more_headers eval
[map { "X-Key: " . "k" x $_ } 1 .. 18, 1 .. 18]
--- error_code eval
[(200) x 18, (429) x 18]



=== TEST 7: an empty one has no limit, of one zone or of all, and is counted
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $http_x_key zone=rpm:64k window=1h;
    sluice_limit_zone $http_x_key$http_x_other zone=both:64k window=1h;
--- config
    location = /t {
        sluice_limit zone=rpm limit=1 weight=$http_x_weight;
        sluice_limit zone=both limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
[("GET /t") x 5]
--- more_headers eval
["X-Key:", "", "X-Key:\nX-Other: a", "X-Other: a",
 "X-Key: b\nX-Weight: 1"]
--- error_code eval
[200, 200, 200, 429, 200]
--- x_counters
admitted=4 refused_limit=1 refused_error=0 empty_key=6
--- x_zone
rpm passed=1 refused=0
both passed=2 refused=1
