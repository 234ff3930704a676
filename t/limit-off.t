# Why it exists: a location must be able to inherit no limit, a page of an
# error for example.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 5;

run_tests();

__DATA__

=== TEST 1: off inherits none
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
--- config
    sluice_limit zone=rpm limit=1;
    location = /limited {
        root $TEST_NGINX_SERVER_ROOT/html;
        try_files /index.html =404;
    }
    location = /free {
        sluice_limit off;
        root $TEST_NGINX_SERVER_ROOT/html;
        try_files /index.html =404;
    }
--- request eval
["GET /limited", "GET /limited", "GET /free", "GET /free"]
--- error_code eval
[200, 429, 200, 200]
--- x_zone
rpm passed=1 refused=1
