# Why it exists: a request that is to leave through a proxy must never go around
# it; what would is refused at the start, with a line that says what to write.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 59;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('must_die', 1) if !defined $block->request;
    $block->set_value('config', '') if !defined $block->config;
    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_proxy_pool eu { proxy http://10.0.0.1:3128 id=a; }
        upstream origin { server 10.0.0.2:80; sluice_egress eu; keepalive 4; }
        upstream plain { server 10.0.0.2:80; }
        upstream off { server 10.0.0.2:80; sluice_egress off; }
        ' . ($block->http_config // ''));
});

run_tests();

__DATA__

=== TEST 1: an unknown pool
--- config
    location = /t {
        sluice_egress us;
        proxy_pass http://10.0.0.2;
    }
--- error_log eval
qr/\[emerg\] .*unknown proxy pool "us" in .*nginx\.conf:\d+: no "sluice_proxy_pool" defines it/



=== TEST 2: in an upstream
--- http_config
    upstream u { server 10.0.0.2:80; sluice_egress us; }
--- error_log eval
qr/\[emerg\] .*unknown proxy pool "us" in .*nginx\.conf:\d+: no "sluice_proxy_pool" defines it/



=== TEST 3: a pool of keys is none
--- http_config
    sluice_key_pool keys { key sk-1 id=a; }
    upstream u { server 10.0.0.2:80; sluice_egress keys; }
--- error_log eval
qr/\[emerg\] .*unknown proxy pool "keys" in /



=== TEST 4: twice in a location
--- config
    location = /t {
        sluice_egress eu;
        sluice_egress off;
    }
--- error_log eval
qr/\[emerg\] .*"sluice_egress" directive is duplicate in /



=== TEST 5: twice in an upstream
--- http_config
    upstream u { server 10.0.0.2:80; sluice_egress eu; sluice_egress eu; }
--- error_log eval
qr/\[emerg\] .*"sluice_egress" directive is duplicate in /



=== TEST 6: a name that no pool may have
--- config
    location = /t {
        sluice_egress $pool;
    }
--- error_log eval
qr/\[emerg\] .*invalid proxy pool "\$pool": it must have 1 to 47 letters/



=== TEST 7: another parameter
--- config
    location = /t {
        sluice_egress eu direct=never;
    }
--- error_log eval
qr/\[emerg\] .*invalid parameter "direct=never" in /



=== TEST 8: off, and something
--- config
    location = /t {
        sluice_egress off direct=allowed;
    }
--- error_log eval
qr/\[emerg\] .*invalid parameter "direct=allowed" in /



=== TEST 9: names are resolved here or there
--- config
    location = /t {
        sluice_egress eu resolve=maybe;
    }
--- error_log eval
qr/\[emerg\] .*invalid parameter "resolve=maybe" in /



=== TEST 10: a proxy_pass with variables would go around it
--- config
    location = /t {
        sluice_egress eu;
        proxy_pass http://$arg_host;
    }
--- error_log eval
qr/\[emerg\] .*location "\/t" has "sluice_egress", and an upstream that is known only at run time would bypass it/



=== TEST 11: so would one whose variable is set to a name
--- config
    location = /t {
        sluice_egress eu;
        set $host_of_mine 10.0.0.2;
        proxy_pass http://$host_of_mine:80;
    }
--- error_log eval
qr/\[emerg\] .*location "\/t" has "sluice_egress", and an upstream that is known only at run time would bypass it/



=== TEST 12: a whole server has none: what it asks for itself would go out there
--- config
    sluice_egress eu;
--- error_log eval
qr/\[emerg\] .*"sluice_egress" directive is not allowed here in /



=== TEST 13: within a location
--- config
    location /t {
        sluice_egress eu;
        location /t/u {
            grpc_pass grpc://$arg_host;
        }
    }
--- error_log eval
qr/\[emerg\] .*location "\/t\/u" has "sluice_egress", and an upstream that is known only at run time would bypass it/



=== TEST 14: within an if
--- config
    location /t {
        sluice_egress eu;
        if ($arg_a) {
            proxy_pass http://$arg_host;
        }
        proxy_pass http://10.0.0.2;
    }
--- error_log eval
qr/\[emerg\] .* has "sluice_egress", and an upstream that is known only at run time would bypass it/



=== TEST 15: an upstream that others use as well
--- config
    location = /t {
        sluice_egress eu;
        proxy_pass http://plain;
    }
--- error_log eval
qr/\[emerg\] .*location "\/t" has "sluice_egress", and upstream "plain" in .*nginx\.conf:\d+ has none/



=== TEST 16: FastCGI is no HTTP, and leaves as it is told
--- config
    location = /t {
        sluice_egress eu;
        fastcgi_pass $arg_host;
    }
--- error_log eval
qr/\[emerg\] .*location "\/t" has "sluice_egress", and an upstream that is known only at run time would bypass it/



=== TEST 17: behind keepalive, whose connections would be anybody's
--- skip_nginx: 2: >= 1.29.7
--- http_config
    upstream u { server 10.0.0.2:80; keepalive 4; sluice_egress eu; }
--- error_log eval
qr/\[emerg\] .*"sluice_egress" must come before "keepalive" in /



=== TEST 18: a socket of this machine has no way through a proxy
--- config
    location = /t {
        sluice_egress eu;
        proxy_pass http://unix:/nonexistent;
    }
--- error_log eval
qr/\[emerg\] .*no proxy leads to "unix:\/nonexistent"/



=== TEST 19: nor in an upstream
--- http_config
    upstream u { server unix:/nonexistent; sluice_egress eu; }
--- error_log eval
qr/\[emerg\] .*no proxy leads to "unix:\/nonexistent": upstream "u" in .*nginx\.conf:\d+ has "sluice_egress"/



=== TEST 20: a key's proxy that has no name
--- http_config
    sluice_key_pool keys { key sk-1 id=a proxy=; }
--- error_log eval
qr/\[emerg\] .*invalid proxy id "": it must have 1 to 47 letters, digits, "_" or "-" in /



=== TEST 21: strict, and no proxy of its own
--- http_config
    sluice_key_pool keys { key sk-1 id=a strict; }
--- error_log eval
qr/\[emerg\] .*"strict" needs "proxy=": the one that a key goes with or not at all in /



=== TEST 22: a key's proxy that no pool has
--- http_config
    sluice_key_pool keys { key sk-1 id=a proxy=zz; }
--- error_log eval
qr/\[emerg\] .*"zz"/



=== TEST 23: before the balancer, which would be asked instead
--- http_config
    upstream u { server 10.0.0.2:80; sluice_egress eu; least_conn; }
--- error_log eval
qr/\[emerg\] .*"sluice_egress" must come after the balancing method in upstream "u" in /



=== TEST 24: a key pool and a proxy pool may have one name
--- http_config
    sluice_key_pool eu { key sk-1 id=a; }
--- request
GET /



=== TEST 25: variables that name upstreams, of which each has its own
--- config
    set $name origin;
    location = /t {
        proxy_pass http://$name;
    }
--- request
GET /
--- no_error_log
[emerg]



=== TEST 26: all that there is
--- config
    location /t {
        sluice_egress eu direct=allowed resolve=local;
        proxy_pass http://10.0.0.2;

        location /t/upstream {
            proxy_pass https://origin;
        }
        location /t/inner {
            sluice_egress eu resolve=remote;
            proxy_pass http://10.0.0.2:81;
        }
        location /t/off {
            sluice_egress off;
            proxy_pass http://$arg_host;
        }
        location /t/off-upstream {
            proxy_pass http://off;
        }
    }
    location = /none {
        return 204;
    }
--- request
GET /none
--- error_code: 204



=== TEST 27: an if that asks by another protocol
--- config
    location /t {
        sluice_egress eu;
        proxy_pass http://origin;
        if ($arg_a) {
            grpc_pass grpc://$arg_host;
        }
    }
--- error_log eval
qr/\[emerg\] .*location "\/t" has "sluice_egress", and passes requests in several ways/



=== TEST 28: ... which has a name, but not the pool
--- config
    location /t {
        sluice_egress eu;
        proxy_pass http://origin;
        if ($arg_a) {
            fastcgi_pass 10.0.0.2:9000;
        }
    }
--- error_log eval
qr/\[emerg\] .*location "\/t" has "sluice_egress", and passes requests in several ways/



=== TEST 29: two in one location
--- config
    location /t {
        sluice_egress eu;
        proxy_pass http://origin;
        fastcgi_pass 10.0.0.2:9000;
    }
--- error_log eval
qr/\[emerg\] .*location "\/t" has "sluice_egress", and passes requests in several ways/



=== TEST 30: a location without a name that has others
--- config
    location "" {
        sluice_egress eu;
        proxy_pass http://$arg_host;
        location /t {
            return 204;
        }
    }
--- error_log eval
qr/\[emerg\] .*location "" has "sluice_egress", and an upstream that is known only at run time would bypass it/



=== TEST 31: ifs and methods, all of which go there
--- config
    location /t {
        sluice_egress eu;
        if ($arg_a) {
            add_header X-A a;
        }
        if ($arg_b) {
            proxy_pass http://10.0.0.3;
        }
        limit_except GET {
            deny all;
        }
        proxy_pass http://10.0.0.2;
    }
    location /u {
        sluice_egress eu;
        if ($arg_a) {
            grpc_pass grpc://10.0.0.3:80;
        }
    }
    location = /none {
        return 204;
    }
--- request
GET /none
--- error_code: 204
