# Why it exists: which way a request has gone, and what was tried before, is in
# its record and in variables; a proxy's password is in neither, nor in a log.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';
require './t/lib/Sluice/Proxy.pm';

plan tests => 54;

Sluice::Upstream::start('/t' => [Sluice::Upstream::answer(200, 'ok')],
                        '/500' => [Sluice::Upstream::answer(500, 'no')]);
Sluice::Proxy::start(eu1 => 'http user=joe:s%65cret', eu2 => 'socks5 user=joe:secret');

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        log_format way "$uri $sluice_proxy_id $sluice_proxy_tries'
                       . ' $sluice_proxy_result $sluice_proxy_time";
        access_log $TEST_NGINX_SERVER_ROOT/logs/access.log way;
        sluice_proxy_pool eu {
            proxy http://joe:s%65cret@127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU1 id=eu1;
            proxy socks5://joe:secret@127.0.0.1:$TEST_NGINX_SLUICE_PROXY_EU2 id=eu2 backup;
        }
        upstream origin {
            server 127.0.0.1:$TEST_NGINX_SLUICE_PORT;
            sluice_egress eu;
            keepalive 4;
        }
        upstream two {
            server 127.0.0.1:1;
            server 127.0.0.1:$TEST_NGINX_SLUICE_PORT backup;
            sluice_egress eu;
        }
        upstream allowed {
            server 127.0.0.1:$TEST_NGINX_SLUICE_PORT;
            sluice_egress eu direct=allowed;
        }
    ');
    $block->set_value('config', '
        sluice_usage on;
        sluice_usage_field way $sluice_proxy_id at=log;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header X-Proxy $sluice_proxy_id;
        location / {
            proxy_pass http://origin;
        }
        location = /two {
            proxy_pass http://two/t;
        }
        location = /allowed {
            proxy_pass http://allowed/t;
        }
        location = /off {
            sluice_egress off;
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/t;
        }
        location = /none {
            return 200 "<$sluice_proxy_id$sluice_proxy_tries$sluice_proxy_result$sluice_proxy_time>";
        }
    ');
    $block->set_value('no_error_log', "secret\ns%65cret\nam9lOnNlY3JldA")
        if !defined $block->no_error_log;
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: new, then kept
--- request eval
["GET /t", "GET /t"]
--- response_body eval
["ok", "ok"]
--- x_records
status=200 tries=1 proxy=eu1 tunnels=0:connected@eu1 field.way=eu1
status=200 tries=1 proxy=eu1 tunnels=0:reused@eu1 field.way=eu1
--- access_log eval
[qr{^/t eu1 1 connected 0\.\d{3}$}m]



=== TEST 2: the second one
--- x_proxy: eu1 http 403
--- request
GET /t
--- response_body: ok
--- x_records
status=200 tries=1 proxy=eu2 tunnels=0:forbidden@eu1+0:connected@eu2 field.way=eu2
--- access_log eval
[qr{^/t eu2 2 connected 0\.\d{3}$}m]



=== TEST 3: two origins
--- request
GET /two
--- response_body: ok
--- x_records
status=200 tries=2 proxy=eu1 tunnels=0:origin@eu1+1:connected@eu1 upstream=~^502@127.0.0.1:1.200@127.0.0.1:\d+$



=== TEST 4: direct
--- x_proxy
eu1 http refuse
eu2 socks5 no-method
--- request
GET /allowed
--- response_body: ok
--- x_records
status=200 tries=1 proxy=direct tunnels=0:unreachable@eu1+0:denied@eu2+0:direct@direct field.way=direct
--- access_log eval
[qr{^/allowed direct 3 direct }m]



=== TEST 5: none was to be had
--- x_proxy
eu1 http refuse
eu2 socks5 no-method
--- request
GET /t
--- error_code: 503
--- x_records
outcome=no_proxy status=503



=== TEST 6: without a pool there is nothing to say
--- request eval
["GET /off", "GET /none"]
--- response_body eval
["ok", "<>"]
--- x_records
status=200 tries=1 proxy=-
status=200 tries=0 proxy=-



=== TEST 7: the origin's name is the try's, not the proxy's
--- request
GET /500
--- error_code: 500
--- x_records
status=500 tries=1 upstream=~^500@127\.0\.0\.1:\d+$ proxy=eu1 connect=ms
