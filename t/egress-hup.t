# Why it exists: a reload that adds, removes or reorders proxies keeps what is
# known of the others; one whose address is another is another proxy.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Proxy.pm';

Sluice::Test::lasting_dir();
use_hup();
no_shuffle();
no_root_location();

plan tests => 20;

Sluice::Proxy::start(eu1 => 'http close', eu2 => 'http', eu3 => 'http', eu4 => 'http');

our $http = '
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    server {
        listen $TEST_NGINX_SLUICE_PORT;
        return 200 "ok";
    }
    upstream origin {
        server 127.0.0.1:$TEST_NGINX_SLUICE_PORT;
        sluice_egress eu;
    }
';

our $config = '
    add_header X-Proxy "$sluice_proxy_id $sluice_proxy_tries" always;
    location / {
        proxy_pass http://origin;
    }
';

# a port that is the same in all blocks

$ENV{TEST_NGINX_SLUICE_PORT} = do {
    my $sock = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
        or die $!;
    $sock->sockport;
};

# "eu1 PARAMETERS; ..." of a pool

sub pool {
    my ($lines) = @_;

    return "$http sluice_proxy_pool eu {" . (join '', map {
        my ($id, $more) = /^(\w+)(.*)$/;
        my $proxy = uc($more =~ s/ at=(\w+)// ? $1 : $id);
        "proxy http://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_$proxy id=$id $more;\n";
    } split /; */, $lines) . '}';
}

run_tests();

__DATA__

=== TEST 1: one rests
--- http_config eval: ::pool('eu1 fail_timeout=60s; eu2')
--- config eval: $::config
--- request eval
["GET /", "GET /"]
--- response_headers eval
["X-Proxy: eu2 2", "X-Proxy: eu2 1"]
--- x_members
eu eu1 state=cooling for=60000
eu eu2 state=healthy



=== TEST 2: reordered, and two more: it rests on
--- http_config eval: ::pool('eu3; eu4; eu2 backup; eu1 fail_timeout=60s')
--- config eval: $::config
--- request eval
["GET /", "GET /", "GET /"]
--- response_headers_like eval
[("X-Proxy: eu[34] 1") x 3]
--- x_members
eu eu1 state=cooling for=60000
eu eu2 state=healthy
eu eu3 state=healthy
eu eu4 state=healthy



=== TEST 3: others are gone: nobody is well
--- http_config eval: ::pool('eu1 fail_timeout=60s')
--- config eval: $::config
--- request
GET /
--- error_code: 503
--- raw_response_headers_like: Retry-After: [1-9]



=== TEST 4: under its name there is another
--- http_config eval: ::pool('eu1 at=eu4')
--- config eval: $::config
--- request
GET /
--- response_headers
X-Proxy: eu1 1



=== TEST 5: and the old one is what it was
--- http_config eval: ::pool('eu1 fail_timeout=60s; eu2 backup')
--- config eval: $::config
--- request
GET /
--- response_headers
X-Proxy: eu2 1



=== TEST 6: a reload that fails changes nothing
--- http_config eval: ::pool('eu3; eu3')
--- config eval: $::config
--- reload_fails
--- request
GET /
--- response_headers
X-Proxy: eu2 1
