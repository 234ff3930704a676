# Why it exists: who loads the module and says nothing must notice nothing,
# and a location without a directive of ours must cost nothing and leave
# nothing, though its neighbours are metered.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 23;

run_tests();

__DATA__

=== TEST 1: loaded, not configured
--- config
    location = /t {
        add_header X-All "$sluice_client|$sluice_limit_zone|$sluice_key|$sluice_key_id|$sluice_record";
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /t
--- response_headers
X-All: ||||
--- response_body_like: It works
--- error_log
http script
--- no_error_log
[error]
[warn]
sluice
--- x_files
no directory



=== TEST 2: a location beside a metered one
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_key_pool p { key sk-1 id=a; }
--- config
    location = /metered {
        sluice_usage on;
        sluice_limit zone=rpm limit=10;
        sluice_key p;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /t {
        add_header X-All "$sluice_client|$sluice_limit_zone|$sluice_key|$sluice_key_id|$sluice_record";
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t", "GET /metered"]
--- response_headers eval
["X-All: ||||", "X-All: ||||", "!X-All"]
--- x_records
uri=/metered outcome=admitted status=200
--- x_zone
rpm passed=1 refused=0
--- x_counters
admitted=1 recorded=1
--- x_members
p a used=0 in_flight=0



=== TEST 3: only a directory: nothing to keep there, so it is not made
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_ring 1m;
    sluice_node n1;
--- config
    location = /t {
        sluice_usage off;
        sluice_client off;
        sluice_key off;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /t
--- response_body_like: It works
--- no_error_log
[error]
[warn]
--- x_files
no directory
