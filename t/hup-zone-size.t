# Why it exists: a zone whose size changes counts on exactly: what was charged
# in the table of the former size is not forgotten, and a third size at once
# is refused rather than counted wrongly.

use File::Temp ();
use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

# Test::Nginx empties the server's root between blocks, so not there

$Sluice::Test::Dir = $ENV{TEST_NGINX_SLUICE_DIR}
    = File::Temp::tempdir('sluice-XXXXXX', TMPDIR => 1, CLEANUP => 1)
      . '/sluice';

use_hup();
no_shuffle();

plan tests => 21;

our $config = '
    location = /t {
        sluice_limit zone=rpm limit=5;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /short {
        sluice_limit zone=short limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
';

run_tests();

__DATA__

=== TEST 1: started: two of five
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone $arg_k zone=rpm:64k window=1h;
    sluice_limit_zone $remote_addr zone=short:64k window=1h;
--- config eval: $::config
--- request eval
["GET /t?k=1", "GET /t?k=1", "GET /short", "GET /short"]
--- error_code eval
[200, 200, 200, 429]



=== TEST 2: larger: the three that are left, for others five
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone $arg_k zone=rpm:256k window=1h;
    sluice_limit_zone $remote_addr zone=short:64k window=1m;
--- config eval: $::config
--- request eval
["GET /t?k=1", "GET /t?k=1", "GET /t?k=1", "GET /t?k=1",
 "GET /t?k=2", "GET /t?k=2", "GET /t?k=2", "GET /t?k=2", "GET /t?k=2",
 "GET /t?k=2"]
--- error_code eval
[200, 200, 200, 429, 200, 200, 200, 200, 200, 429]
--- x_files
workers
zone.rpm.1
zone.rpm.2
zone.short.1
zone.short.2



=== TEST 3: the same again: nothing is made
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone $arg_k zone=rpm:256k window=1h;
    sluice_limit_zone $remote_addr zone=short:64k window=1m;
--- config eval: $::config
--- request eval
["GET /t?k=1", "GET /t?k=2", "GET /t?k=3"]
--- error_code eval
[429, 429, 200]



=== TEST 4: another window is another limit
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone $arg_k zone=rpm:256k window=1h;
    sluice_limit_zone $remote_addr zone=short:64k window=1d;
--- config eval: $::config
--- request eval
["GET /short", "GET /short", "GET /t?k=1"]
--- error_code eval
[200, 429, 429]
