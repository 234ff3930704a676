# Why it exists: a proxy that fails is followed by the next one within the
# request, whatever the way in which it fails; the client sees nothing of it, nor
# does nginx, and a POST is safe, because nothing of it was sent.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 228;

Sluice::Upstream::start('/t' => ["HTTP/1.1 200 X\r\n\r\n", '$body', undef]);
Sluice::Proxy::start(bad => 'http', sbad => 'socks5', good => 'http');

add_block_preprocessor(sub {
    my ($block) = @_;
    my ($bad, $scheme) = ($block->x_proxy // '') =~ /^(\w+) (http|socks5)/;

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_proxy_pool eu {
            proxy $scheme://joe:secret\@127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_\U$bad\E id=bad;
            proxy http://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_GOOD id=good backup;
        }
        upstream origin {
            server 127.0.0.1:\$TEST_NGINX_SLUICE_PORT max_fails=1;
            sluice_egress eu;
        }
    ");
    $block->set_value('config', '
        location = /t {
            proxy_connect_timeout 300ms;
            proxy_next_upstream off;
            add_header X-Proxy $sluice_proxy_id;
            proxy_pass http://origin;
        }
    ');
    $block->set_value('request', "POST /t\nhello, world");
    $block->set_value('response_body', 'hello, world');
    $block->set_value('response_headers', 'X-Proxy: good');
    $block->set_value('x_members', '
eu bad used=1 in_flight=0 state=' . ($block->x_state // 'cooling') . '
eu good used=1 in_flight=0 state=healthy
');
    $block->set_value('x_log', '
1-3: ~\[(warn|error)\] .*proxy "bad"
0: secret
0: upstream server temporarily disabled
0: [alert]
0: ~\[crit\] (?!.*tmpfs)
');

    # whom nobody asks has no line
    $block->set_value('x_proxies', ($block->x_asked // "$bad\n") . "good CONNECT\n");
});

no_root_location();
run_tests();

__DATA__

=== TEST 1: nobody listens
--- x_proxy: bad http refuse
--- x_asked:



=== TEST 2: closes at once
--- x_proxy: bad http close



=== TEST 3: resets at once
--- x_proxy: bad http reset



=== TEST 4: never answers
--- x_proxy: bad http hole



=== TEST 5: was asked, and never answers
--- x_proxy: bad http mute



=== TEST 6: was asked, and closes
--- x_proxy: bad http drop



=== TEST 7: was asked, and resets
--- x_proxy: bad http abort



=== TEST 8: closes within its answer
--- x_proxy: bad http half



=== TEST 9: wants to know who asks, and does not know him
--- x_proxy: bad http user=joe:other



=== TEST 10: 407
--- x_proxy: bad http 407



=== TEST 11: 403
--- x_proxy: bad http 403
--- x_state: healthy



=== TEST 12: 401
--- x_proxy: bad http 401



=== TEST 13: 429
--- x_proxy: bad http 429
--- x_state: healthy



=== TEST 14: a redirect
--- x_proxy: bad http 302
--- x_state: healthy



=== TEST 15: another protocol, without a question
--- x_proxy: bad http 101



=== TEST 16: SSH
--- x_proxy: bad http ssh



=== TEST 17: TLS
--- x_proxy: bad http tls



=== TEST 18: more of a head than anybody reads
--- x_proxy: bad http oversized



=== TEST 19: that never ends
--- x_proxy: bad http endless



=== TEST 20: SOCKS5: nobody listens
--- x_proxy: sbad socks5 refuse
--- x_asked:



=== TEST 21: closes at once
--- x_proxy: sbad socks5 close



=== TEST 22: resets at once
--- x_proxy: sbad socks5 reset



=== TEST 23: never answers
--- x_proxy: sbad socks5 hole



=== TEST 24: was asked, and never answers
--- x_proxy: sbad socks5 mute



=== TEST 25: was asked, and closes
--- x_proxy: sbad socks5 drop



=== TEST 26: was asked, and resets
--- x_proxy: sbad socks5 abort



=== TEST 27: closes within its reply
--- x_proxy: sbad socks5 half



=== TEST 28: no method
--- x_proxy: sbad socks5 no-method



=== TEST 29: one that was not offered
--- x_proxy: sbad socks5 gssapi



=== TEST 30: the user is refused
--- x_proxy: sbad socks5 user=joe:other



=== TEST 31: an older protocol
--- x_proxy: sbad socks5 socks4



=== TEST 32: another version in its reply
--- x_proxy: sbad socks5 version



=== TEST 33: an unknown type of address
--- x_proxy: sbad socks5 type



=== TEST 34: SSH
--- x_proxy: sbad socks5 ssh



=== TEST 35: general failure
--- x_proxy: sbad socks5 1
--- x_state: healthy



=== TEST 36: not allowed
--- x_proxy: sbad socks5 2
--- x_state: healthy



=== TEST 37: an unknown command
--- x_proxy: sbad socks5 7
--- x_state: healthy



=== TEST 38: an unknown type
--- x_proxy: sbad socks5 8
--- x_state: healthy
