# Why it exists: refusals are everyday: how loudly they are told is the
# operator's choice, and what he must repair is told whatever he chose.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 21;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
        sluice_limit_zone $remote_addr zone=dry:64k window=1h;
    ' . ($block->http_config // ''));
});

run_tests();

__DATA__

=== TEST 1: error, unless something else is said
--- config
    location = /t {
        sluice_limit zone=dry limit=1 dry_run;
        sluice_limit zone=rpm limit=2;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
[("GET /t") x 3]
--- error_code eval
[200, 200, 429]
--- x_log
1: ~\[error\] .*refusing request by limit "dry", dry run, key [0-9a-f]{12}, client:
1: ~\[error\] .*refusing request by limit "rpm", key [0-9a-f]{12}, client:
2: refusing request



=== TEST 2: each level, in dry runs as well
--- config
    location = /info {
        sluice_limit_log_level info;
        sluice_limit zone=rpm limit=1;
        sluice_limit zone=dry limit=1 dry_run;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /notice {
        sluice_limit_log_level notice;
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /warn {
        sluice_limit_log_level warn;
        sluice_limit zone=dry limit=1 dry_run;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /error {
        sluice_limit_log_level error;
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /info", "GET /info", "GET /notice", "GET /warn", "GET /error"]
--- error_code eval
[200, 429, 429, 200, 429]
--- x_log
1: ~\[info\] .*refusing request by limit "rpm",
1: ~\[notice\] .*refusing request by limit "rpm",
1: ~\[warn\] .*refusing request by limit "dry", dry run
1: ~\[error\] .*refusing request by limit "rpm",
4: refusing request



=== TEST 3: inherited, and set anew
--- http_config
    sluice_limit_log_level warn;
--- config
    sluice_limit zone=rpm limit=1;
    location = /t {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /quiet {
        sluice_limit_log_level info;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t", "GET /quiet"]
--- error_code eval
[200, 429, 429]
--- x_log
1: ~\[warn\] .*refusing request by limit "rpm",
1: ~\[info\] .*refusing request by limit "rpm",



=== TEST 4: below the level of error.log nothing is written of it
--- log_level: warn
--- config
    location = /t {
        sluice_limit_log_level notice;
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 429]
--- x_log
0: refusing request



=== TEST 5: a limit without a number is an error at any level
--- config
    location = /t {
        sluice_limit_log_level info;
        sluice_limit zone=rpm limit=$arg_n;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /t
--- error_code: 500
--- error_log eval
qr/\[error\] .*a limit must be a number/



=== TEST 6: no such level
--- config
    sluice_limit_log_level debug;
--- must_die
--- error_log eval
qr/\[emerg\] .*invalid value "debug" in /
