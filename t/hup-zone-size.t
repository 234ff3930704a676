# Why it exists: a zone whose size changes counts on exactly: what was charged
# in the table of the former size is not forgotten, and a third size at once
# is refused rather than counted wrongly.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

Sluice::Test::lasting_dir();
use_hup();
no_shuffle();

plan tests => 26;

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
    sluice_limit_zone $remote_addr zone=second:64k window=1s;
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
    sluice_limit_zone $remote_addr zone=second:128k window=1s;
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
zone.second.1
zone.second.2
zone.short.1
zone.short.2



=== TEST 3: the same again: nothing is made
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone $arg_k zone=rpm:256k window=1h;
    sluice_limit_zone $remote_addr zone=short:64k window=1m;
    sluice_limit_zone $remote_addr zone=second:128k window=1s;
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
    sluice_limit_zone $remote_addr zone=second:128k window=1s;
--- config eval: $::config
--- request eval
["GET /short", "GET /short", "GET /t?k=1"]
--- error_code eval
[200, 429, 429]



=== TEST 5: a third size while the first one still counts
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone $arg_k zone=rpm:512k window=1h;
--- config
    location = /t {
        sluice_limit zone=rpm limit=100;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- reload_fails
--- request eval
["GET /t?k=1", "GET /t?k=3"]
--- error_code eval
[429, 200]
--- x_log
1: zone "rpm" has two tables of former sizes in use: wait until the workers of the earlier configurations are gone, and two windows more



=== TEST 6: two windows after its last user a former table is gone
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone $arg_k zone=rpm:256k window=1h;
    sluice_limit_zone $remote_addr zone=second:128k window=1s;
--- config eval
$::config =~ s/location = .short.*//sr
--- request
GET /t?k=1
--- error_code: 429
--- wait: 3.5
--- x_files
workers
zone.rpm.1
zone.rpm.2
zone.second.2
zone.short.2
zone.short.3
