# Why it exists: a limit can be tried out before it is in force.  Meanwhile it
# refuses nobody and takes nothing from the limits that are; it tells whom it
# would have refused.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 107;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', ($block->http_config // '') . '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
        sluice_limit_zone $arg_k zone=new:64k window=1h;
        sluice_limit_zone $remote_addr zone=newer:64k window=1h;
        add_header X-Limit "$sluice_limit_status/$sluice_limit_zone" always;
    ');
});

run_tests();

__DATA__

=== TEST 1: it lets through, and says what it would have done
--- config
    location = /t {
        sluice_limit zone=rpm limit=1 dry_run;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t", "GET /t"]
--- error_code eval
[200, 200, 200]
--- response_headers eval
["X-Limit: PASSED/", "X-Limit: REJECTED_DRY_RUN/rpm",
 "X-Limit: REJECTED_DRY_RUN/rpm"]
--- x_zone
rpm passed=1 refused=2
--- x_counters
admitted=3 refused_limit=0 dry_run=2
--- x_log
2: refusing request by limit "rpm", dry run



=== TEST 2: in force beside it: that one refuses, and has charged each
--- config
    location = /t {
        sluice_limit zone=new limit=1 dry_run;
        sluice_limit zone=rpm limit=3;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
[("GET /t?k=1") x 3, "GET /t?k=2", "GET /t?k=1"]
--- error_code eval
[200, 200, 200, 429, 429]
--- response_headers eval
["X-Limit: PASSED/", "X-Limit: REJECTED_DRY_RUN/new",
 "X-Limit: REJECTED_DRY_RUN/new", "X-Limit: REJECTED/rpm",
 "X-Limit: REJECTED/rpm"]
--- x_zone
new passed=1 refused=3
rpm passed=3 refused=2
--- x_counters
admitted=3 refused_limit=2 dry_run=2
--- x_log
2: refusing request by limit "new", dry run



=== TEST 3: the same, written the other way round; it has not charged for those that were refused
--- config
    location = /t {
        sluice_limit zone=rpm limit=2;
        sluice_limit zone=new limit=2 dry_run;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /new {
        sluice_limit zone=new limit=2;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1", "GET /t?k=2", "GET /t?k=1", "GET /t?k=1",
 "GET /new?k=1", "GET /new?k=1", "GET /new?k=2", "GET /new?k=2"]
--- error_code eval
[200, 200, 429, 429, 200, 429, 200, 429]
--- response_headers eval
["X-Limit: PASSED/", "X-Limit: PASSED/", "X-Limit: REJECTED/rpm",
 "X-Limit: REJECTED/rpm", "X-Limit: PASSED/", "X-Limit: REJECTED/new",
 "X-Limit: PASSED/", "X-Limit: REJECTED/new"]



=== TEST 4: a request that it would refuse charges it no further
--- config
    location = /t {
        sluice_limit zone=new limit=5 weight=$arg_w dry_run;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1&w=3", "GET /t?k=1&w=3", "GET /t?k=1&w=2", "GET /t?k=1&w=1"]
--- error_code eval
[200, 200, 200, 200]
--- response_headers eval
["X-Limit: PASSED/", "X-Limit: REJECTED_DRY_RUN/new", "X-Limit: PASSED/",
 "X-Limit: REJECTED_DRY_RUN/new"]



=== TEST 5: two dry runs, of which each is told; nothing in force
--- config
    location = /t {
        sluice_limit zone=new limit=1 dry_run;
        sluice_limit zone=newer limit=2 dry_run;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
[("GET /t?k=1") x 3]
--- error_code eval
[200, 200, 200]
--- response_headers eval
["X-Limit: PASSED/", "X-Limit: REJECTED_DRY_RUN/new",
 "X-Limit: REJECTED_DRY_RUN/newer"]
--- x_zone
new passed=1 refused=2
newer passed=2 refused=1
--- x_log
2: refusing request by limit "new", dry run



=== TEST 6: status= is of no use to it; a plan of nothing refuses nobody
--- config
    location = /t {
        sluice_limit zone=new limit=$arg_n status=503 dry_run;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1&n=0"]
--- error_code eval
[200]
--- response_headers eval
["X-Limit: REJECTED_DRY_RUN/new"]



=== TEST 7: it settles as any
--- config
    location = /t {
        sluice_limit zone=new limit=10 weight=4 settle=$arg_used dry_run;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1&used=1", "GET /t?k=1&used=5", "GET /t?k=1&used=4",
 "GET /t?k=1&used=0", "GET /t?k=2&used=7", "GET /t?k=2&used=1"]
--- error_code eval
[(200) x 6]
--- response_headers eval
["X-Limit: PASSED/", "X-Limit: PASSED/", "X-Limit: PASSED/",
 "X-Limit: REJECTED_DRY_RUN/new", "X-Limit: PASSED/",
 "X-Limit: REJECTED_DRY_RUN/new"]



=== TEST 8: the variables, where there is nothing to be refused by
--- config
    location = /t {
        sluice_limit zone=new limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /free {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /free", "GET /t?k=1"]
--- error_code eval
[200, 200, 200]
--- response_headers eval
["X-Limit: /", "X-Limit: /", "X-Limit: PASSED/"]



=== TEST 9: after a redirect the same zone is in force: a dry run does not decide for it
--- config
    location = /t {
        sluice_limit zone=new limit=2 dry_run;
        try_files /none @api;
    }
    location @api {
        sluice_limit zone=new limit=2;
        root $TEST_NGINX_SERVER_ROOT/html;
        try_files /index.html =404;
    }
--- request eval
[("GET /t?k=1") x 4]
--- error_code eval
[200, 200, 429, 429]
--- response_headers eval
["X-Limit: PASSED/", "X-Limit: PASSED/", "X-Limit: REJECTED/new",
 "X-Limit: REJECTED/new"]
--- x_counters
refused_limit=2 dry_run=2



=== TEST 10: and the request is charged what it weighs there, once
--- config
    location = /t {
        sluice_limit zone=new limit=9 weight=3 settle=$arg_used dry_run;
        try_files /none @api;
    }
    location @api {
        sluice_limit zone=new limit=3;
        root $TEST_NGINX_SERVER_ROOT/html;
        try_files /index.html =404;
    }
--- request eval
[("GET /t?k=1&used=9") x 4]
--- error_code eval
[200, 200, 200, 429]
--- x_log
0: dry run



=== TEST 11: one that is refused there is charged nothing
--- config
    location = /t {
        sluice_limit zone=new limit=5 dry_run;
        sluice_limit zone=newer limit=5 dry_run;
        try_files /none @api;
    }
    location @api {
        sluice_limit zone=new limit=$arg_n;
        sluice_limit zone=newer limit=1;
        root $TEST_NGINX_SERVER_ROOT/html;
        try_files /index.html =404;
    }
--- request eval
["GET /t?k=1&n=0", "GET /t?k=1&n=0", "GET /t?k=1&n=1", "GET /t?k=2&n=9"]
--- error_code eval
[429, 429, 200, 429]
--- response_headers eval
["X-Limit: REJECTED/new", "X-Limit: REJECTED/new", "X-Limit: PASSED/",
 "X-Limit: REJECTED/newer"]



=== TEST 12: a dry run after a redirect charges nothing again, nor does one after another
--- config
    location = /t {
        sluice_limit zone=new limit=2;
        sluice_limit zone=newer limit=2 dry_run;
        try_files /none @api;
    }
    location @api {
        sluice_limit zone=new limit=2 dry_run;
        sluice_limit zone=newer limit=2 dry_run;
        root $TEST_NGINX_SERVER_ROOT/html;
        try_files /index.html =404;
    }
--- request eval
[("GET /t?k=1") x 3]
--- error_code eval
[200, 200, 429]
--- response_headers eval
["X-Limit: PASSED/", "X-Limit: PASSED/", "X-Limit: REJECTED/new"]
--- x_zone
new passed=2 refused=1
newer passed=2 refused=1
--- x_log
0: dry run



=== TEST 13: beside what refuses: an upstream that is asked instead has the zone in force
--- config
    location = /t {
        sluice_limit zone=rpm limit=1;
        sluice_limit zone=new limit=1 dry_run;
        error_page 429 = @cheap;
        root $TEST_NGINX_SERVER_ROOT/html;
        try_files /index.html =404;
    }
    location @cheap {
        sluice_limit zone=new limit=1;
        rewrite ^ /free break;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT;
    }
    location = /free {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1", "GET /t?k=2", "GET /t?k=2"]
--- error_code eval
[200, 200, 429]
