# Why it exists: a key that is cooling down or disabled is passed over; when
# none is well a request is refused with 503, until the first one is again.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 31;

# states of the pool's members, in the order of the configuration, written as
# sluicectl does: "healthy", "disabled", or for how many seconds it is to cool

sub Test::Nginx::Util::set_states {
    my $path = "$Test::Nginx::Util::ServRoot/sluice_temp/pool.p.1";
    my $now = Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC());
    my $line = 0;

    open my $file, '+<:raw', $path or die "$path: $!";

    for (@_) {
        my @word = $_ eq 'healthy'    ? (0, 0)
                   : $_ eq 'disabled' ? (4, ~0 << 20)
                   :                    (1, int(($now + $_) * 1000) << 20);

        seek $file, 8192 + 320 * $line++, 0;
        print $file pack 'QQ', @word;
    }

    close $file or die $!;
}

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
        sluice_key_pool p { key sk-1 id=a; key sk-2 id=b; key sk-3 id=c; }
        sluice_key_pool q { key sk-4 id=d; }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            location = /fail { return 500; }
            location / { return 200 "$http_authorization\n"; }
        }
    ');
    $block->set_value('config', '
        sluice_usage on;
        sluice_limit zone=rpm limit=10;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        location = /t {
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
    ' . ($block->config // ''));
});

run_tests();

__DATA__

=== TEST 1: two of three are not well
--- init
set_states('disabled', 'healthy', 100);
--- request eval
["GET /t", "GET /t", "GET /t"]
--- response_body eval
["sk-2\n", "sk-2\n", "sk-2\n"]
--- x_members
p a used=0
p b used=3 in_flight=0
p c used=0
q d used=0



=== TEST 2: none is well: nothing is charged; when the first one will be
--- init
set_states('disabled', 100, 30);
--- request eval
["GET /t", "HEAD /t"]
--- error_code eval
[503, 503]
--- raw_response_headers_like eval
["Retry-After: (?:30|29)\r\n", "Retry-After: (?:30|29)\r\n"]
--- error_log
refusing request, no key of pool "p" is well
--- x_records
outcome=no_key status=503 key=- pool=p zone=- tries=0 uri=/t
outcome=no_key status=503
--- x_zone
rpm passed=0 refused=0
--- x_counters
admitted=0 refused_key=2 recorded=2



=== TEST 3: all are disabled: nobody knows until when
--- init
set_states('disabled', 'disabled', 'disabled');
--- request
GET /t
--- error_code: 503
--- response_headers
!Retry-After
--- response_body_like: No upstream key is available. Try again later.



=== TEST 4: refusals for want of a key are not recorded if the operator says so
--- config
    location = /quiet {
        sluice_usage on refused=off;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- init
set_states('disabled', 'disabled', 'disabled');
--- request
GET /quiet
--- error_code: 503
--- x_records eval
''



=== TEST 5: a cooldown ends by itself
--- init
set_states('disabled', -1, 100);
--- request
GET /t
--- response_body
sk-2



=== TEST 6: a redirect to a pool that is not well
--- config
    location = /q {
        sluice_key q;
        error_page 500 /t;
        proxy_intercept_errors on;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/fail;
    }
--- init
set_states('disabled', 'disabled', 'disabled');
--- request
GET /q
--- error_code: 503
--- response_body_like: No upstream key is available
--- x_records
outcome=no_key status=503 uri=/q key=d pool=q tries=1
--- x_zone
rpm passed=1 refused=0
--- x_members
p a used=0
p b used=0
p c used=0
q d used=1 in_flight=0



=== TEST 7: a subrequest
--- config
    location = /auth {
        sluice_usage off;
        auth_request /t;
        sluice_key off;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- init
set_states('disabled', 'disabled', 'disabled');
--- request
GET /auth
--- error_code: 500
--- error_log
auth request unexpected status: 503
--- x_records eval
''
