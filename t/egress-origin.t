# Why it exists: once there is a tunnel nginx has an origin like any other: what
# fails then is the origin's, another server or another key goes on through a
# proxy that was had before, and may have one request at a time, and none is in
# flight any more.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 43;

sub answer { return Sluice::Upstream::answer(@_) }

my @key = ("HTTP/1.1 200 X\r\nContent-Length: 1\r\n\r\n\$key");

Sluice::Upstream::start('/t' => [answer(200, 'ok')],
                        '/500' => [answer(500, 'no')],
                        '/cut' => ["HTTP/1.1 200 OK\r\nContent-Le", undef],
                        '/half' => ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", undef],
                        '/close' => [undef],
                        '/late' => [\1, answer(200, 'late')],
                        'A /keys' => [answer(429, 'no')],
                        'B /keys' => [answer(401, 'no')],
                        '/keys' => [@key],
                        '/ws' => ["HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello\n", undef]);
Sluice::Proxy::start(eu1 => 'http', gone => { http => ["HTTP/1.1 200 OK\r\n\r\n", \0.02, undef] },
                     cut => { http => ["HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 2", \0.02, undef] });

add_block_preprocessor(sub {
    my ($block) = @_;
    my $proxy = uc($block->x_is // 'eu1');

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { key A id=a; key B id=b; key C id=c; }
        sluice_proxy_pool eu {
            proxy http://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_$proxy id=eu1 max_conns=1;
        }
        upstream origin {
            server 127.0.0.1:\$TEST_NGINX_SLUICE_PORT max_fails=0;
            sluice_egress eu;
            keepalive 4;
        }
        upstream two {
            server 127.0.0.1:\$TEST_NGINX_SLUICE_PORT;
            server 127.0.0.1:\$TEST_NGINX_RAND_PORT_1 backup;
            sluice_egress eu;
            keepalive 4;
        }
        sluice_key_pool q { key A id=a; breaker errors=1; }
        upstream both {
            server 127.0.0.1:\$TEST_NGINX_SLUICE_PORT;
            server 127.0.0.2:\$TEST_NGINX_SLUICE_PORT;
            sluice_egress eu;
        }
        server {
            listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            return 200 'two';
        }
    ");
    $block->set_value('config', '
        sluice_usage on;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_read_timeout 300ms;
        location / {
            proxy_pass http://origin;
        }
        location /two/ {
            proxy_next_upstream error timeout http_500 non_idempotent;
            proxy_pass http://two/;
        }
        location = /keys {
            sluice_key p;
            proxy_set_header Authorization $sluice_key;
            proxy_pass http://origin;
        }
        location = /both {
            sluice_key q;
            proxy_set_header Authorization $sluice_key;
            proxy_pass http://both/t;
        }
        location = /ws {
            proxy_set_header Upgrade x;
            proxy_set_header Connection upgrade;
            proxy_pass http://origin;
        }
    ');
    $block->set_value('x_members', "eu eu1 in_flight=0 state=healthy\n"
                                   . ($block->x_keys // join "\n", map { "p $_ in_flight=0" } qw( a b c ))
                                   . "\nq a in_flight=0 state=healthy");
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: no answer: the next server, through the same proxy
--- request
POST /two/late
hello
--- response_body: two
--- x_proxies
eu1 CONNECT
eu1 CONNECT
--- x_records
status=200 tries=2 upstream=~^504@.*.200@ tunnels=0:connected@eu1+1:connected@eu1



=== TEST 2: a status
--- request eval
["GET /two/500", "GET /two/500"]
--- response_body eval
["two", "two"]
--- x_records
status=200 tries=2 upstream=~^500@.*.200@ tunnels=0:connected@eu1+1:connected@eu1
status=200



=== TEST 3: closed
--- request
GET /two/close
--- response_body: two
--- x_records
status=200 tries=2 upstream=~^502@.*.200@



=== TEST 4: no other server
--- request eval
["GET /close", "GET /cut", "GET /late", "GET /500"]
--- error_code eval
[502, 502, 504, 500]
--- x_records
status=502 tries=1
status=502 tries=1
status=504 tries=1
status=500 tries=1



=== TEST 5: another key, through the only proxy, and on the same tunnel
--- request eval
["POST /keys\nhello", "GET /keys"]
--- response_body eval
["C", "C"]
--- x_keys
p a in_flight=0 state=cooling
p b in_flight=0 denied=1
p c in_flight=0 used=2
--- x_records
keys=~^429@a.401@b.200@c$ tunnels=0:connected@eu1+1:reused@eu1+2:reused@eu1
status=200
--- x_proxies
eu1 CONNECT



=== TEST 6: half of an answer
--- request
GET /half
--- ignore_response
--- x_records
status=200 tries=1



=== TEST 7: the tunnel ends before the origin has said anything
--- x_is: gone
--- request
GET /t
--- error_code: 502
--- x_proxies
gone CONNECT



=== TEST 8: or within its answer
--- x_is: cut
--- request
GET /t
--- error_code: 502
--- x_proxies
cut CONNECT



=== TEST 9: no server and no key rests for it
--- x_is: gone
--- request eval
["GET /both", "GET /both"]
--- error_code eval
[502, 502]
--- x_log
0: upstream server temporarily disabled
0: no live upstreams



=== TEST 10: another protocol
--- request
GET /ws
--- more_headers
Upgrade: x
Connection: upgrade
--- error_code: 101
--- response_body
hello
