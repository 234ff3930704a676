# Why it exists: a key may have a proxy of its own, so that a provider sees one
# key from one address; when the request goes on with another key it goes on
# through that one's proxy.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 71;

sub answer { return Sluice::Upstream::answer(@_) }

Sluice::Upstream::start('/t' => ["HTTP/1.1 200 X\r\nContent-Length: 1\r\n\r\n\$key"],
                        'A /next' => [answer(429, 'no')],
                        '/next' => ["HTTP/1.1 200 X\r\nContent-Length: 1\r\n\r\n\$key"]);
Sluice::Proxy::start(eu1 => 'http', eu2 => 'socks5', eu3 => 'http');

add_block_preprocessor(sub {
    my ($block) = @_;
    my $keys = $block->x_keys
               // 'key A id=a; key B id=b; key C id=c; key D id=d;';
    my $balance = $block->x_balance // '';
    my $egress = $block->x_egress // 'eu';

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { $keys }
        sluice_proxy_pool eu {
            $balance
            proxy http://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1;
            proxy socks5://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_EU2 id=eu2;
            proxy http://127.0.0.1:\$TEST_NGINX_SLUICE_PROXY_EU3 id=eu3;
        }
        upstream origin {
            server 127.0.0.1:\$TEST_NGINX_SLUICE_PORT;
            sluice_egress $egress;
            keepalive 8;
        }
    ");
    $block->set_value('config', '
        sluice_usage on;
        sluice_key p;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Authorization $sluice_key;
        proxy_connect_timeout 500ms;
        add_header X-Way "$sluice_key_id $sluice_proxy_id" always;
        location / {
            proxy_pass http://origin;
        }
        ' . ($block->config // ''));
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: its own
--- x_keys: key A id=a proxy=eu3; key B id=b proxy=eu1;
--- request eval
[("GET /t") x 4]
--- response_headers eval
["X-Way: a eu3", "X-Way: b eu1", "X-Way: a eu3", "X-Way: b eu1"]
--- x_proxies
eu3
eu1



=== TEST 2: it fails: any other
--- x_keys: key A id=a proxy=eu3;
--- x_proxy: eu3 http close
--- request eval
[("GET /t") x 2]
--- response_headers_like eval
[("X-Way: a eu[12]") x 2]
--- response_body eval
["A", "A"]



=== TEST 3: it rests: its own again when it is back is not waited for here
--- x_keys: key A id=a proxy=eu3 strict;
--- x_proxy: eu3 http close
--- request eval
[("GET /t") x 2]
--- error_code eval
[503, 503]
--- raw_response_headers_like eval
[("\r\nRetry-After: ([1-9]|10)\r\n") x 2]
--- x_proxies
eu3
--- x_members
eu eu1 used=0
eu eu2 used=0
eu eu3 state=cooling in_flight=0
p a in_flight=0 state=healthy



=== TEST 4: another key may have one that is well
--- x_keys: key A id=a proxy=eu3 strict; key B id=b backup;
--- x_proxy: eu3 http close
--- request
GET /t
--- error_code_like: ^(200|503)$



=== TEST 5: the next key leaves through its own
--- x_keys: key A id=a proxy=eu3; key B id=b proxy=eu2;
--- request
POST /next
hello
--- response_body: B
--- response_headers
X-Way: b eu2
--- x_proxies
eu3 CONNECT
eu2 SOCKS5
--- x_records
status=200 tries=2 keys=429@a+200@b



=== TEST 6: the key's id decides: one key, one proxy
--- x_balance: balance hash $sluice_key_id;
--- request eval
[("GET /t") x 8]
--- response_headers_like eval
[map { "X-Way: $_ eu[123]" } qw( a b c d a b c d )]
--- x_records
key=a
key=b
key=c
key=d
key=a
key=b
key=c
key=d



=== TEST 7: by the key of this try, not of the first one
--- x_balance: balance hash $sluice_key_id;
--- x_keys: key A id=a; key B id=b; key C id=c backup;
--- request eval
["GET /t", "GET /t", "GET /next", "GET /next"]
--- error_code eval
[200, 200, 200, 200]
--- x_records
keys=200@a
keys=200@b
keys=429@a+200@b
keys=200@b



=== TEST 8: the next key's own rests: it does not leave through the last one's
--- x_keys: key B id=b proxy=eu3 strict; key A id=a proxy=eu1 strict;
--- x_proxy: eu3 http close
--- request eval
["GET /t", "GET /next"]
--- error_code eval
[503, 503]
--- x_proxies
eu3
eu1 CONNECT
--- x_records
tries=1 keys=503@b
tries=2 keys=429@a+503@b



=== TEST 9: a key that goes with its own or not at all does not go direct
--- x_keys: key A id=a proxy=eu3 strict;
--- x_egress: eu direct=allowed
--- x_proxy: eu3 http close
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[503, 503]
--- x_proxies
eu3



=== TEST 10: nor where nothing says that there are proxies
--- x_keys: key A id=a proxy=eu3 strict;
--- x_egress: off
--- request
GET /t
--- error_code: 500
--- error_log
no request goes out here with a key that is "strict", as nothing says "sluice_egress": pool "p"
--- x_proxies



=== TEST 11: it is said which one is wanted, when others are up
--- x_keys: key A id=a proxy=eu3 strict;
--- x_proxy: eu3 http close
--- request
GET /t
--- error_code: 503
--- error_log
key "a" goes with proxy "eu3" only, and that cannot be had in pool "eu"



=== TEST 12: nor to an address that no upstream has
--- x_keys: key A id=a proxy=eu3 strict;
--- config
    set $to 127.0.0.1;
    location = /t {
        proxy_pass http://$to:$TEST_NGINX_SLUICE_PORT;
    }
    location = /next {
        grpc_set_header Authorization $sluice_key;
        grpc_pass grpc://$to:$TEST_NGINX_SLUICE_PORT;
    }
    location = /unbuffered {
        proxy_request_buffering off;
        proxy_pass http://$to:$TEST_NGINX_SLUICE_PORT/t;
    }
    location = /named {
        set $to origin;
        proxy_pass http://$to/t;
    }
--- request eval
["GET /t", "POST /next\na=1", "POST /unbuffered\na=1", "GET /named"]
--- error_code eval
[500, 500, 500, 200]
--- response_headers_like eval
["X-Way: a ?", "X-Way: a ?", "X-Way: a ?", "X-Way: a eu3"]
--- x_log
1-4: no request goes out here with a key that is "strict", as nothing says "sluice_egress": pool "p"
--- x_proxies
eu3
