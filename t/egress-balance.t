# Why it exists: proxies are chosen by weight, by what is in flight, at random or
# by a value, as keys are; a backup has what the others cannot have, and none has
# more than it may.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 99;

Sluice::Upstream::start('/t' => [Sluice::Upstream::answer(200, 'ok')],
                        '/400ms' => [\0.4, Sluice::Upstream::answer(200, 'ok')]);
Sluice::Proxy::start(a => 'http', b => 'socks5', c => 'http');

add_block_preprocessor(sub {
    my ($block) = @_;
    my %is = (a => '', b => '', c => '',
              map { /(\w)(.*)/ } split /\n/, $block->x_proxies_are // '');
    my $balance = $block->x_balance // '';

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_proxy_pool eu {
            $balance
            proxy http://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_A id=a $is{a};
            proxy socks5://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_B id=b $is{b};
            proxy http://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_C id=c $is{c};
        }
        upstream origin {
            server 127.0.0.1:\$TEST_NGINX_SLUICE_PORT;
            sluice_egress eu;
        }
    ");
    $block->set_value('config', '
        add_header X-Proxy $sluice_proxy_id always;
        location / {
            proxy_pass http://origin;
        }
    ');
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: in turns
--- request eval
[("GET /t") x 6]
--- response_headers eval
[map { "X-Proxy: $_" } qw( a b c a b c )]



=== TEST 2: by weight
--- x_proxies_are
a weight=3
c weight=2
--- request eval
[("GET /t") x 12]
--- response_headers_like eval
[("X-Proxy: [abc]") x 12]
--- x_members
eu a used=6
eu b used=2
eu c used=4



=== TEST 3: by a value: the same has the same
--- x_balance: balance hash $arg_k;
--- request eval
[map { "GET /t?k=$_" } 1, 1, 1, 1]
--- response_headers_like eval
[("X-Proxy: [abc]") x 4]
--- x_members
eu a used=~^[04]$
eu b used=~^[04]$
eu c used=~^[04]$



=== TEST 4: another may have another
--- x_balance: balance hash $arg_k;
--- request eval
[map { "GET /t?k=$_" } 1 .. 20]
--- response_headers_like eval
[("X-Proxy: [abc]") x 20]
--- x_members
eu a used=~^[1-9]
eu b used=~^[1-9]
eu c used=~^[1-9]



=== TEST 5: a backup
--- x_proxies_are
b backup
c backup
--- request eval
[("GET /t") x 3]
--- response_headers eval
[("X-Proxy: a") x 3]



=== TEST 6: so many at a time
--- x_proxies_are
a max_conns=1
b max_conns=1
c max_conns=1
--- request
GET /t
--- x_curl
+0 -o /dev/null -w '%{http_code} %header{x-proxy}\n' http://127.0.0.1:$SERVER/400ms
+50 -o /dev/null -w '%{http_code} %header{x-proxy}\n' http://127.0.0.1:$SERVER/400ms
+100 -o /dev/null -w '%{http_code} %header{x-proxy}\n' http://127.0.0.1:$SERVER/400ms
+200 -o /dev/null -w '%{http_code}\n' http://127.0.0.1:$SERVER/t
+600 -o /dev/null -w '%{http_code}\n' http://127.0.0.1:$SERVER/t
--- x_curl_out
200 b
200 c
200 a
503
200
--- x_members
eu a in_flight=0 state=healthy
eu b in_flight=0 state=healthy
eu c in_flight=0 state=healthy



=== TEST 7: the least used
--- x_balance: balance least_used;
--- request
GET /t
--- x_curl
+0 http://127.0.0.1:$SERVER/400ms
+100 http://127.0.0.1:$SERVER/400ms
+200 http://127.0.0.1:$SERVER/400ms
--- x_curl_out chomp
okokok
--- x_members
eu a used=~^[12]$ in_flight=0
eu b used=~^[12]$ in_flight=0
eu c used=~^[12]$ in_flight=0
