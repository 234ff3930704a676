# Why it exists: a worker that can have no slot and no lane goes on living,
# says so once, and refuses what needs one; nothing is let through unrecorded.

use Test::More;

BEGIN {
    if ($> != 0) {
        plan(skip_all => 'to change the user one must be root');
    }

    $ENV{TEST_NGINX_WORKER_USER} = 'nobody nogroup';
}

use File::Temp ();
use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

master_on();

# a folder that the worker may not enter, and one where it may do all

our $closed = File::Temp::tempdir('sluice-XXXXXX', TMPDIR => 1, CLEANUP => 1);
our $opened = File::Temp::tempdir('sluice-XXXXXX', TMPDIR => 1, CLEANUP => 1);

chmod 0755, $opened;

$ENV{TEST_NGINX_CLOSED} = $closed;
$ENV{TEST_NGINX_OPENED} = $opened;

plan tests => 20;

run_tests();

__DATA__

=== TEST 1: it may not enter
--- http_config
    sluice_dir $TEST_NGINX_CLOSED/sluice;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_key_pool p { key sk-1 id=a; }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 200 "ok";
    }
--- config
    location = /usage {
        sluice_usage on;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /key {
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /limit {
        sluice_limit zone=rpm limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /sub {
        auth_request /key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /usage", "GET /key", "GET /limit", "GET /limit", "GET /sub", "GET /t"]
--- error_code eval
[503, 503, 200, 429, 500, 200]
--- raw_response_headers_like eval
["Retry-After: 1\r\n", "Retry-After: 1\r\n", "OK", "Retry-After: ",
 "Internal", "OK"]
--- x_log
1: worker has no slot or lane and refuses what needs one (trying again): 



=== TEST 2: it may, though the master is root
--- http_config
    sluice_dir $TEST_NGINX_OPENED/sluice;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_client $arg_a;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 200 "ok";
    }
--- config
    location = /t {
        sluice_usage on;
        sluice_limit zone=rpm limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- init
for (1 .. 100) {
    last if glob "$main::opened/sluice/lane*";
    select undef, undef, undef, 0.02;
}
my @uid = map { scalar getpwuid((stat)[4]) . sprintf ' %o', (stat _)[2] & 07777 }
              "$main::opened/sluice", glob "$main::opened/sluice/{client,lane,workers,zone}*";
main::is(join(', ', @uid), join(', ', 'nobody 2770', 'nobody 600', ('nobody 660') x 3),
         'the files are the worker\'s');
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 429]
--- no_error_log
[alert]
[crit]
