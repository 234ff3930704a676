# Why it exists: upstream keys and what clients present must not be found in
# a log that an operator keeps, nor in a file of the directory.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';

plan tests => 142;

sub answer { return Sluice::Upstream::answer(@_) }

# not nginx: at the level of debug it would write down what it is asked

Sluice::Upstream::start(
    '/well'     => [answer(200, 'well')],
    '/401'      => [answer(401, 'no')],
    '/500'      => [answer(500, 'no')],
    '/cut'      => [undef],
    '/late'     => [\1, undef],
    'sk-secret-one /next'   => [answer(401, 'no')],
    'sk-secret-two /next'   => [answer(429, 'no')],
    'sk-secret-three /next' => [answer(200, 'well')],
    '/body'     => ["HTTP/1.1 200 X\r\n\r\n", 'is it $key?', undef],
    '/lf'       => ["HTTP/1.1 200 X\nX-Echo: \$key\n\n"
                    . "is it \$key?\r\n\r\n", undef],
    '/header'   => [answer(200, 'well', 'X-Echo: Bearer $key')],
    '/name'     => [answer(200, 'well', 'X-$key: 1')],
    'sk-secret-one /given-up' => [answer(401, 'no', 'WWW-Authenticate: $key')],
    '/given-up' => [answer(200, 'well')],
    '/two'      => ["HTTP/1.1 200 X\r\nX-Echo: sk-sec",
                    \0.05, "ret-one\r\nContent-Length: 4\r\n\r\nwell"],
    '/nul'      => ["HTTP/1.1 200 X\r\nX-Echo: \$key\0\r\n\r\nwell", undef],
    '/invalid'  => ["HTTP/1.1 200 X\r\nX-\$key\001: 1\r\n\r\nwell", undef],
    '/line'     => ['HTTP/1.1 $key X' . "\r\n\r\nwell", undef],
    '/none'     => ['$key' . "\r\n\r\nwell", undef],
    '/big'      => ['HTTP/1.1 200 X' . "\r\nX-Echo: " . '$key' x 9000
                    . "\r\n\r\nwell", undef],
    '/location' => [answer(302, '', 'Location: http://127.0.0.1/?$key')],
    '/refresh'  => [answer(200, 'well', 'Refresh: 1; url=/?$key',
                                        'Set-Cookie: a=$key; path=/$key')],
    '/accel'    => [answer(200, 'well', 'X-Accel-Redirect: /files/$key')],
    '/length'   => ['HTTP/1.1 200 X' . "\r\nContent-Length: " . '$key'
                    . "\r\n\r\nwell", undef],
    '/scgi'     => ['Status: 200 X' . "\r\nX-Echo: " . '$key'
                    . "\r\n\r\nwell", undef],
);

# what stands in the files of the directory and in the logs, whichever they are

add_test_cleanup_handler(sub {
    my ($block) = @_;
    my $dir = Sluice::Test::dir();
    my $found = '';

    for my $path (glob "$dir/* $dir/.[a-z]*") {
        open my $in, '<:raw', $path or die "$path: $!";
        my $text = do { local $/; <$in> };
        $found .= "$path has $1\n" while $text =~ /(sk-[a-z]+|me-myself)/g;
    }

    is($found, '', $block->name . ' - the files have no secret');

    my @lines;

    for my $path (glob "$Test::Nginx::Util::ServRoot/logs/*.log") {
        open my $in, '<', $path or die "$path: $!";
        push @lines, grep { /sk-/ } <$in>;
    }

    is(join('', @lines), '', $block->name . ' - the logs have no secret');
});

add_block_preprocessor(sub {
    my ($block) = @_;
    my $path = $block->x_path // return;
    my @paths = split ' ', $path;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p {
            key sk-secret-one id=a; key sk-secret-two id=b;
            key sk-secret-three id=c;
        }
        map $sluice_key $mapped { volatile; ~^sk- $sluice_key; }
        ' . ($block->http_config // ''));
    $block->set_value('config', '
        sluice_usage on;
        sluice_usage_field u $uri;
        sluice_key p;
        proxy_read_timeout 200ms;
        proxy_set_header Authorization $sluice_key;
        location / {
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
        }
        location /files/ {
            root $TEST_NGINX_SERVER_ROOT/html;
        }
        ' . ($block->config // ''));
    Sluice::Test::http2_server($block);
    $block->set_value('request', [map { "GET $_" } @paths]);
    $block->set_value('error_code_like', [map { '^([2-5]|$)' } @paths]);
    $block->set_value('x_log', ($block->x_log // '')
                               . (defined $block->log_level
                                  ? "\n0: [debug]\n" : "\n1-9999: [debug]\n"));
});

no_root_location();
no_long_string();

run_tests();

__DATA__

=== TEST 1: admitted, refused, and an upstream that is down
--- log_level: info
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $sluice_client zone=rpm:64k window=1h;
    sluice_key_pool p { key sk-one id=a; key sk-two id=b; }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 200 "ok";
    }
--- config
    sluice_usage on;
    sluice_client $http_authorization;
    sluice_limit zone=rpm limit=2;
    sluice_key p;
    proxy_set_header Authorization "Bearer $sluice_key";
    location = /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /down {
        proxy_pass http://127.0.0.1:1;
    }
--- request eval
["GET /t", "GET /down", "GET /t"]
--- more_headers
Authorization: Bearer me-myself
--- error_code eval
[200, 502, 429]
--- no_error_log
sk-
me-myself
--- x_records
key=a
key=b
zone=rpm



=== TEST 2: at the level of debug, whatever the upstream answers
--- x_path: /well /401 /500 /cut /late
--- x_log
1-99: http proxy status



=== TEST 3: over several tries, and when no key is left
--- x_path: /next /401 /401 /401 /next



=== TEST 4: an answer that has it in its body
--- x_path: /body



=== TEST 5: in its header
--- x_path: /header /given-up
--- x_log
1: http proxy header: "X-Echo: Bearer *************"



=== TEST 6: in two packets
--- x_path: /two



=== TEST 7: in a header's name
--- x_path: /name



=== TEST 8: in a header that is none
--- x_path: /invalid /nul
--- x_log
2: [error]
1: upstream sent invalid header: "X-*************\x01
1: upstream sent invalid header: "X-Echo: *************\x00



=== TEST 9: in a status line
--- x_path: /line



=== TEST 10: in place of one
--- x_path: /none



=== TEST 11: in a header that is too long
--- x_path: /big



=== TEST 12: in one that nginx reads
--- x_path: /location /refresh /length /accel
--- config
    location /r/ {
        proxy_cookie_path ~^/(.*)$ /r/$1;
        proxy_redirect ~^http://127\.0\.0\.1/(.*)$ /$1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/;
    }



=== TEST 13: from a cache
--- http_config
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/cache keys_zone=one:64k;
--- config
    proxy_cache one;
    proxy_cache_valid any 1h;
--- x_path: /well /well /header /header



=== TEST 14: in a body, in a parameter, through a map
--- config
    location = /well {
        proxy_set_header Authorization "Basic $mapped";
        proxy_set_header X-Other "$sluice_key$sluice_key_id";
        proxy_set_body "key=$sluice_key";
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
    }
--- x_path: /well



=== TEST 15: an address that comes with the request
--- config
    location = /next {
        set $to 127.0.0.1:$TEST_NGINX_SLUICE_PORT;
        proxy_pass http://$to/next;
    }
    location = /down {
        proxy_pass http://127.0.0.1:1;
    }
    location = /nowhere {
        set $to 127.0.0.1:1;
        proxy_pass http://$to;
    }
--- x_path: /next /down /nowhere



=== TEST 16: subrequests
--- config
    location = /well {
        auth_request /next;
        mirror /500;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
    }
--- x_path: /well



=== TEST 17: another protocol
--- config
    location = /scgi {
        scgi_param HTTP_AUTHORIZATION $sluice_key;
        scgi_param REQUEST_METHOD $request_method;
        scgi_param REQUEST_URI $request_uri;
        scgi_param CONTENT_LENGTH $content_length;
        scgi_pass 127.0.0.1:$TEST_NGINX_SLUICE_PORT;
    }
--- x_path: /scgi



=== TEST 18: where it must not be asked for
--- config
    location = /url {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/?key=$sluice_key;
    }
    location = /set {
        set $early $sluice_key;
        proxy_set_header Authorization $early;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
    }
    location = /return {
        return 200 "[$sluice_key]";
    }
--- x_path: /url /set /return



=== TEST 19: HTTP/2
--- x_http2
--- x_path: /well
--- x_curl
--http2-prior-knowledge -w ' %{http_version}\n' http://127.0.0.1:$HTTP2/next
--- x_curl_out
well 2



=== TEST 20: at the level of info, whatever the upstream answers
--- log_level: info
--- x_path: /header /name /two /line /none /big /location /refresh /length



=== TEST 21: what it answers in ways that nginx writes down
--- log_level: info
--- x_path: /invalid /nul /accel
--- x_log
3: [error]
1: upstream sent invalid header: "X-*************\x01
1: upstream sent invalid header: "X-Echo: *************\x00
1: ~open\(\) ".*/files/\*+" failed



=== TEST 22: the same at the level of errors
--- log_level: error
--- x_path: /invalid /nul /accel
--- x_log
3: [error]



=== TEST 23: nor has the client it, or the cache
--- log_level: error
--- http_config
    proxy_cache_path $TEST_NGINX_SERVER_ROOT/cache keys_zone=one:64k;
--- config
    proxy_cache one;
    proxy_cache_valid any 1h;
--- x_path: /header /header
--- response_headers eval
[("X-Echo: Bearer *************") x 2]



=== TEST 24: a header without CR ends as well, and the body is the upstream's
--- log_level: error
--- x_path: /lf
--- response_headers
X-Echo: *************
--- response_body_like: ^is it sk-secret-one\?
