# Why it exists: proxy_connect_timeout is for each proxy, for connect() and the
# handshake together: no proxy that says a byte now and then keeps a request, and
# none takes the time of the next one.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 20;

# for longer than anybody waits

my @drip = map { ($_, \0.1) } split //, "HTTP/1.1 200 OK\r\n" . 'X' x 100;
my @late = (\0.35, "HTTP/1.1 200 OK\r\n\r\n");

Sluice::Upstream::start('/t' => [\0.6, Sluice::Upstream::answer(200, 'ok')]);
Sluice::Proxy::start(hole => 'http hole', hole2 => 'socks5 mute',
                     drip => { http => \@drip }, late => { http => \@late },
                     up => 'http', tls => { http => [\0.25, "HTTP/1.1 200 OK\r\n\r\n", \0.6, undef] });

add_block_preprocessor(sub {
    my ($block) = @_;
    my $proxies = join "\n", map {
        my $backup = $_ eq 'up' ? 'backup' : '';
        my $scheme = $_ eq 'hole2' ? 'socks5' : 'http';
        "proxy $scheme://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_\U$_\E id=$_ $backup;"
    } split ' ', $block->x_pool;

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_proxy_pool eu { $proxies }
        upstream origin {
            server 127.0.0.1:\$TEST_NGINX_SLUICE_PORT;
            sluice_egress eu;
        }
    ");
    $block->set_value('config', '
        proxy_connect_timeout 400ms;
        proxy_read_timeout 2s;
        location = /tls {
            add_header X-Time $upstream_response_time always;
            proxy_pass https://origin;
        }
        location = /short {
            proxy_next_upstream_timeout 500ms;
            add_header X-Time $request_time always;
            proxy_pass http://origin;
        }
        location / {
            add_header X-Proxy "$sluice_proxy_id $sluice_proxy_tries $sluice_proxy_time";
            proxy_pass http://origin;
        }
    ');
    $block->set_value('request', 'GET /t') if !defined $block->request;
});

no_root_location();
run_tests();

__DATA__

=== TEST 1: each has its own time
--- x_pool: hole hole2 late up
--- response_headers_like
X-Proxy: late 3 0\.3\d\d
--- response_body: ok
--- x_members
eu hole state=cooling timeout=1 in_flight=0
eu hole2 state=cooling timeout=1 in_flight=0
eu late state=healthy in_flight=0
eu up used=0



=== TEST 2: a byte now and then is no answer
--- x_pool: drip up
--- response_headers_like
X-Proxy: up 2 0\.0\d\d
--- response_body: ok
--- x_members
eu drip state=cooling timeout=1 in_flight=0
eu up used=1 in_flight=0



=== TEST 3: the origin has the time that it is given, after that
--- x_pool: late
--- response_headers_like
X-Proxy: late 1 0\.3\d\d
--- response_body: ok



=== TEST 4: all of them too late
--- x_pool: hole hole2
--- error_code: 503
--- raw_response_headers_like: \r\nRetry-After: \d+\r\n
--- x_members
eu hole state=cooling timeout=1 in_flight=0
eu hole2 state=cooling timeout=1 in_flight=0



=== TEST 5: TLS has what the handshake has left
--- x_pool: tls
--- request
GET /tls
--- error_code: 504
--- response_headers_like
X-Time: 0\.[34]\d\d
--- x_members
eu tls in_flight=0



=== TEST 6: the time for all tries ends them
--- x_pool: hole hole2 drip up
--- request
GET /short
--- error_code_like: ^50[34]$
--- response_headers_like
X-Time: 0\.[4-9]\d\d
--- x_members
eu drip in_flight=0 used=0
eu hole in_flight=0
eu hole2 in_flight=0
eu up in_flight=0 used=0
