# Why it exists: TLS to the origin goes through the tunnel, with the name and the
# checks that are configured; the proxy sees nothing of it, and fails for none of
# its faults.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Proxy.pm';

use File::Temp ();

plan tests => 52;

Sluice::Proxy::start(eu1 => 'http', eu2 => 'socks5');

$ENV{TEST_NGINX_SLUICE_TLS} = File::Temp::tempdir('sluice-XXXXXX',
                                                  TMPDIR => 1, CLEANUP => 1);

system("cd $ENV{TEST_NGINX_SLUICE_TLS} && openssl req -x509 -nodes -days 1"
       . " -newkey rsa:2048 -keyout key -out crt -subj /CN=api.test"
       . " -addext subjectAltName=DNS:api.test 2> errors") == 0
    or die 'openssl cannot make a certificate';

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_proxy_pool eu {
            balance hash $arg_p;
            proxy http://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1;
            proxy socks5://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU2 id=eu2;
        }
        upstream api.test {
            server 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            sluice_egress eu;
        }
        upstream plain {
            server 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
            sluice_egress eu;
        }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
            return 400;
        }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1 ssl;
            ssl_certificate $TEST_NGINX_SLUICE_TLS/crt;
            ssl_certificate_key $TEST_NGINX_SLUICE_TLS/key;
            ssl_session_cache shared:tls:1m;
            return 200 "$ssl_server_name $ssl_session_reused\n";
        }
    ');
    $block->set_value('config', '
        proxy_http_version 1.0;
        proxy_ssl_server_name on;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate $TEST_NGINX_SLUICE_TLS/crt;
        location = /t {
            proxy_pass https://api.test;
        }
        location = /name {
            proxy_ssl_name $arg_n;
            proxy_ssl_verify off;
            proxy_pass https://api.test;
        }
        location = /other {
            proxy_ssl_name other.test;
            proxy_pass https://api.test;
        }
        location = /literal {
            sluice_egress eu;
            proxy_ssl_name api.test;
            proxy_pass https://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
        location = /plain {
            proxy_pass https://plain;
        }
    ');
    $block->set_value('x_members', '
eu eu1 in_flight=0 state=healthy
eu eu2 in_flight=0 state=healthy
');
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: verified, through both kinds
--- request eval
[map { "GET /t?p=$_" } 1 .. 6]
--- response_body_like eval
[("^api.test [r.]\$") x 6]



=== TEST 2: a literal host
--- request
GET /literal
--- response_body_like: ^api.test
--- x_proxies
~^eu ~^[CS] ~^127\.0\.0\.1:\d+$



=== TEST 3: another's certificate is refused, and no proxy is to blame
--- request
GET /other
--- error_code: 502
--- x_proxies
~^eu



=== TEST 4: one session for a name, whichever the proxy
--- request eval
[map { "GET /t?p=$_" } 1 .. 6]
--- response_body_like eval
["^api.test \\.\$", ("^api.test r\$") x 5]



=== TEST 5: none for another name
--- request eval
[map { "GET /name?n=$_" } qw( a.test a.test b.test a.test b.test )]
--- response_body eval
["a.test .\n", "a.test r\n", "b.test .\n", "a.test r\n", "b.test r\n"]



=== TEST 6: an origin that does not speak it
--- request
GET /plain
--- error_code: 502
--- x_proxies
~^eu



=== TEST 7: byte by byte before it
--- x_proxy
eu1 http bytes
eu2 socks5 bytes
--- request eval
["GET /t?p=1", "GET /t?p=4"]
--- response_body_like eval
["^api.test", "^api.test"]
