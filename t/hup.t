# Why it exists: a reload keeps what was counted and what is known of the
# keys; a reload that fails leaves the old configuration serving as it was.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

Sluice::Test::lasting_dir();
use_hup();
no_shuffle();

plan tests => 36;

our $http = '
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_client_secret 1234567890123456;
    server {
        listen $TEST_NGINX_SLUICE_PORT;
        location / { return 200 "$http_authorization\n"; }
    }
';

our $config = '
    location = /t {
        sluice_usage on;
        sluice_limit zone=rpm limit=3;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
    }
    location = /none {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
';

# a port that is the same in all blocks

$ENV{TEST_NGINX_SLUICE_PORT} = do {
    my $sock = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
        or die $!;
    $sock->sockport;
};

run_tests();

__DATA__

=== TEST 1: started
--- http_config eval
$::http . '
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_key_pool p { key sk-1 id=a; key sk-2 id=b; }
'
--- config eval: $::config
--- request eval
["GET /t", "GET /none"]
--- error_code eval
[200, 200]
--- response_body_like eval
["sk-1", "It works"]
--- x_records
outcome=admitted key=a
--- x_members
p a used=1 in_flight=0
p b used=0 in_flight=0
--- x_zone
rpm passed=1 refused=0



=== TEST 2: reloaded: what was counted counts on; a key is new, one is gone
--- http_config eval
$::http . '
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_key_pool p { key sk-3 id=c; key sk-1 id=a; }
'
--- config eval: $::config
--- request eval
["GET /t", "GET /t", "GET /t"]
--- error_code eval
[200, 200, 429]
--- response_body_like eval
["sk-1", "sk-3", "Rate limit"]
--- x_records
outcome=admitted key=a
outcome=admitted key=a
outcome=admitted key=c
outcome=limit
--- x_members
p a used=2 in_flight=0
p b used=0 in_flight=0
p c used=1 in_flight=0
--- x_zone
rpm passed=3 refused=1



=== TEST 3: a reload that fails at a mistake
--- http_config eval
$::http . '
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_key_pool p { key sk-4 id=d; }
'
--- config
    sluice_limit zone=unknown limit=1;
--- reload_fails
--- request eval
["GET /t", "GET /none"]
--- error_code eval
[429, 200]
--- x_log
1: unknown zone "unknown"
--- x_zone
rpm passed=3 refused=2



=== TEST 4: a reload that fails when files were made: a bad file of a later zone
--- http_config eval
$::http . '
    sluice_limit_zone $remote_addr zone=early:64k window=1h;
    sluice_limit_zone $remote_addr zone=rpm:128k window=1h;
    sluice_limit_zone $remote_addr zone=xbad:64k window=1h;
    sluice_key_pool p { key sk-4 id=d; }
'
--- config eval: $::config
--- post_setup_server_root
open my $out, '>', "$ENV{TEST_NGINX_SLUICE_DIR}/zone.xbad.1" or die $!;
--- reload_fails
--- request eval
["GET /t", "GET /none"]
--- error_code eval
[429, 200]
--- x_zone
rpm passed=3 refused=3
--- x_files
lane.UUID
lane.UUID
pool.p.1
workers
zone.rpm.1
zone.xbad.1
--- x_log
1: /zone.xbad.1" is truncated



=== TEST 5: and the next one is taken: nothing of the failed one is in its way
--- http_config eval
$::http . '
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_key_pool p { key sk-5 id=a; }
'
--- config eval
$::config =~ s/limit=3/limit=4/r
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 429]
--- response_body_like eval
["sk-5", "Rate limit"]
--- x_zone
rpm passed=4 refused=4
--- x_members
p a used=2 in_flight=0
p a used=1 in_flight=0
p b used=0 in_flight=0
p c used=1 in_flight=0



=== TEST 6: without anything of ours
--- config
    location = /none {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /none", "GET /t"]
--- error_code eval
[200, 404]



=== TEST 7: and with all of it again
--- http_config eval
$::http . '
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_key_pool p { key sk-1 id=a; }
'
--- config eval
$::config =~ s/limit=3/limit=5/r
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 429]
--- x_zone
rpm passed=5 refused=5
