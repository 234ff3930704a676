# Why it exists: a connection through a proxy that is kept alive serves again for
# the same way only: proxy, origin, name of the certificate and its checks; over
# another way one would read what another was told.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Proxy.pm';

use File::Temp ();

plan tests => 105;

Sluice::Proxy::start(eu1 => 'http', eu2 => 'socks5');

# a certificate for a day

$ENV{TEST_NGINX_SLUICE_TLS} = File::Temp::tempdir('sluice-XXXXXX',
                                                  TMPDIR => 1, CLEANUP => 1);

system("cd $ENV{TEST_NGINX_SLUICE_TLS} && openssl req -x509 -nodes -days 1"
       . " -newkey rsa:2048 -keyout key -out crt -subj /CN=one.test"
       . " -addext subjectAltName=DNS:one.test 2> errors") == 0
    or die 'openssl cannot make a certificate';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        map \$server_port \$port {
            \$TEST_NGINX_RAND_PORT_1  one;
            \$TEST_NGINX_RAND_PORT_2  two;
            \$TEST_NGINX_RAND_PORT_3  tls;
        }
        sluice_proxy_pool eu {
            balance hash \$arg_p;
            proxy http://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1;
            proxy socks5://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_EU2 id=eu2;
        }
        sluice_proxy_pool one {
            proxy http://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1;
        }
        upstream origin {
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            sluice_egress one;
            keepalive 8;
        }
        upstream hashed {
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            sluice_egress eu;
            keepalive 8;
        }
        upstream several {
            hash \$arg_o;
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_2;
            sluice_egress one;
            keepalive 8;
        }
        upstream tls {
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_3;
            sluice_egress one;
            keepalive 8;
        }
        server {
            listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_2;
            return 200 '\$port \$connection_requests\\n';
        }
        server {
            listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_3 ssl;
            ssl_certificate \$TEST_NGINX_SLUICE_TLS/crt;
            ssl_certificate_key \$TEST_NGINX_SLUICE_TLS/key;
            location = /close {
                keepalive_timeout 0;
                return 204;
            }
            return 200 '\$ssl_server_name \$connection_requests\\n';
        }
    ");
    $block->set_value('config', '
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_ssl_server_name on;
        add_header X-Proxy $sluice_proxy_id:$sluice_proxy_result always;
        location ~ ^/(origin|hashed|several)$ {
            proxy_pass http://$1;
        }
        location = /tls {
            proxy_ssl_name $arg_n;
            proxy_pass https://tls;
        }
        location = /checked {
            proxy_ssl_name $arg_n;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate $TEST_NGINX_SLUICE_TLS/crt;
            proxy_pass https://tls;
        }
        location = /plain {
            sluice_egress off;
            proxy_pass http://origin;
        }
        location /control/ {
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PROXY_CONTROL/;
        }
    ');
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: one tunnel for one request after another
--- request eval
["GET /origin", "POST /origin\nhello", "GET /origin"]
--- response_body eval
["one 1\n", "one 2\n", "one 3\n"]
--- response_headers eval
["X-Proxy: eu1:connected", "X-Proxy: eu1:reused", "X-Proxy: eu1:reused"]
--- x_proxies
eu1 CONNECT
--- x_members
eu eu1 used=0
eu eu2 used=0
one eu1 used=3 in_flight=0



=== TEST 2: not for another proxy
--- request eval
[map { "GET /hashed?p=$_" } 1 .. 12]
--- response_body_like eval
[("^one \\d+\$") x 12]
--- x_proxies
~^eu[12]$ ~^(CONNECT|SOCKS5)$
~^eu[12]$ ~^(CONNECT|SOCKS5)$



=== TEST 3: not for another origin
--- request eval
[map { "GET /several?o=$_" } 1 .. 12]
--- response_body_like eval
[("^(one|two) \\d+\$") x 12]
--- x_proxies
eu1 CONNECT
eu1 CONNECT



=== TEST 4: over TLS
--- request eval
["GET /tls?n=one.test", "GET /tls?n=one.test"]
--- response_body eval
["one.test 1\n", "one.test 2\n"]
--- x_proxies
eu1 CONNECT



=== TEST 5: not for another name
--- request eval
["GET /tls?n=one.test", "GET /tls?n=two.test", "GET /tls?n=one.test", "GET /tls?n=two.test"]
--- response_body eval
["one.test 1\n", "two.test 1\n", "one.test 2\n", "two.test 2\n"]
--- x_proxies
eu1 CONNECT
eu1 CONNECT



=== TEST 6: whom nobody has checked is no one for whom it must be
--- request eval
["GET /tls?n=two.test", "GET /checked?n=two.test", "GET /checked?n=one.test", "GET /checked?n=one.test"]
--- error_code eval
[200, 502, 200, 200]
--- response_body_like eval
["^two.test 1\$", "502 Bad", "^one.test 1\$", "^one.test 2\$"]



=== TEST 7: nor goes through a tunnel who is to go direct
--- request eval
["GET /origin", "GET /plain", "GET /origin", "GET /plain"]
--- response_body eval
["one 1\n", "one 1\n", "one 2\n", "one 2\n"]
--- response_headers eval
["X-Proxy: eu1:connected", "X-Proxy: :", "X-Proxy: eu1:reused", "X-Proxy: :"]
--- x_proxies
eu1 CONNECT



=== TEST 8: a tunnel that was closed meanwhile is nobody's fault
--- request eval
["GET /origin", "GET /control/eu1/cut", "GET /origin"]
--- error_code eval
[200, 200, 200]
--- x_proxies
eu1 CONNECT
eu1 CONNECT
--- x_members
eu eu1 used=0
eu eu2 used=0
one eu1 in_flight=0 state=healthy



=== TEST 9: a tunnel outlives the proxy's listening
--- request eval
["GET /origin", "GET /control/eu1/http+refuse", "GET /origin"]
--- error_code eval
[200, 200, 200]
--- x_proxies
eu1 CONNECT
