# Why it exists: a change of size that is taken back at once is no third table:
# the old one has the charges of both configurations, and is the newest again.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

Sluice::Test::lasting_dir();
use_hup();
no_shuffle();

plan tests => 10;

our $config = '
    location = /t {
        sluice_limit zone=rpm limit=7;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
';

run_tests();

__DATA__

=== TEST 1: two of seven
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone all zone=rpm:64k window=1h;
--- config eval: $::config
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 200]



=== TEST 2: larger: two more
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone all zone=rpm:256k window=1h scale=2;
--- config eval: $::config
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 200]



=== TEST 3: as before: the former table has all four, and no coarser units
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone all zone=rpm:64k window=1h;
--- config eval: $::config
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 200]
--- wait: 1.5
--- x_files
workers
zone.rpm.1



=== TEST 4: and larger once more: one is left
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone all zone=rpm:256k window=1h;
--- config eval: $::config
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 429]
--- x_files
workers
zone.rpm.1
zone.rpm.3
