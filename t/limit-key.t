# Why it exists: a zone counts by whatever its key is made of, each value for
# itself, and who has no key has no limit, as with limit_req.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 25;

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



=== TEST 5: a key of 60000 bytes is a key
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
["GET /t", "GET /t", "GET /t"]
--- more_headers eval
["X-Key: " . "k" x 60000, "X-Key: " . "k" x 60000, "X-Key: " . "k" x 59999]
--- error_code eval
[200, 429, 200]
--- x_counters
admitted=2 empty_key=0
