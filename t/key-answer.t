# Why it exists: what an upstream answers decides whether its key is left
# alone, for how long, and what brings it back; a well key is never punished
# for what a client has done, nor for one odd answer.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';

use Compress::Raw::Zlib qw( MAX_WBITS WANT_GZIP );
use POSIX qw( strftime );

plan tests => 279;

sub answer { return Sluice::Upstream::answer(@_) }

# so many seconds from now: whole ones, so up to one less

sub date { return strftime $_[0], gmtime(time + $_[1]) }

my $http = 'Retry-After: %a, %d %b %Y %H:%M:%S GMT';
my $rfc3339 = "anthropic-ratelimit-tokens-remaining: 0\r\n"
              . 'anthropic-ratelimit-tokens-reset: %Y-%m-%dT%H:%M:%SZ';

my $unified = "anthropic-ratelimit-unified-status: rejected\r\n"
              . 'anthropic-ratelimit-unified-reset: ';

my $quota = '{"error":{"code":"insufficient_quota"}}';
my @json = ('Content-Type: application/json');

my $credit = '{"error":{"message":"Your credit balance is too low to"}}';

# bits: as zlib has them

sub deflated {
    my ($text, $bits) = @_;
    my $deflate = Compress::Raw::Zlib::Deflate->new(-WindowBits => $bits,
                                                    -AppendOutput => 1);
    $deflate->deflate($text, my $out);
    $deflate->flush($out);
    return $out;
}

sub gzip { return deflated($_[0], WANT_GZIP) }

# an error in chunks of so many bytes; what they end with

sub chunked {
    my ($body, $n, $end, @headers) = @_;

    return join "\r\n", 'HTTP/1.1 429 X', 'Transfer-Encoding: chunked',
                        @headers, '',
                        (map { sprintf("%x;a=b\r\n", length) . $_ }
                             unpack "(a$n)*", $body), $end;
}

Sluice::Upstream::start(
    '/150ms'  => [\0.15, answer(200, 'ok')],
    '/300ms'  => [\0.3, answer(200, 'ok')],
    '/401/300ms' => [\0.3, answer(401, 'denied')],
    '/429/300ms' => [\0.3, answer(429, 'limited', 'Retry-After: 9')],
    '/date'   => [sub { answer(429, 'limited', date($http, 30)) }],
    '/past'   => [sub { answer(429, 'limited', date($http, -30)) }],
    '/reset'  => [sub { answer(429, 'limited', date($rfc3339, 30)) }],
    '/unified' => [sub { answer(429, 'limited', $unified . (time + 30)) }],
    '/late'   => [\1, undef],
    '/cut'    => [undef],
    '/long'   => ["HTTP/1.1 200 X\r\nA: " . 'a' x 9000 . "\r\n\r\n", undef],
    '/two'    => [substr(answer(429, $quota, @json), 0, -20), \0.05,
                  substr $quota, -20],
    '/header' => ["HTTP/1.1 429 X\r\nContent-Le", \0.05,
                  "ngth: 39\r\n\r\n$quota"],
    '/chunks' => ["HTTP/1.1 429 X\r\nTransfer-Encoding: chunked\r\n\r\n",
                  \0.05, "27\r\n$quota\r\n", \0.05, "0\r\n\r\n"],
    '/trailer' => ["HTTP/1.1 429 X\r\nTransfer-Encoding: chunked\r\n\r\n",
                   "4\r\nno  \r\n0\r\nA: b\r\n\r\n"],
    '/short'  => ["HTTP/1.1 429 X\r\nRetry-After: 7\r\n"
                  . "Content-Length: 99\r\n\r\nno", undef],
    '/stalls' => ["HTTP/1.1 429 X\r\nRetry-After: 7\r\n"
                  . "Content-Length: 99\r\n\r\nno", \1],
    '/close'  => ["HTTP/1.1 429 X\r\n\r\n$quota", undef],
    '/far'    => [answer(429, ' ' x 2048 . $quota)],
    '/near'   => [answer(429, ' ' x 2000 . $quota)],
    '/blank'  => ["HTTP/1.1 429 X\r\nTransfer-Encoding: chunked\r\n\r\n"
                  . "2b\r\n\r\n\r\n", \0.05, "$quota\r\n0\r\n\r\n"],
    (map { ("/by/$_" => [chunked($quota, $_, "0\r\n\r\n")]) } 1, 7, 10, 38),
    '/broken' => [chunked(substr($quota, 0, 20), 7, "what\r\n$quota")],
    '/over'   => [chunked('no', 7, "ffffffffffffffff\r\n$quota")],
    '/gzip'   => [answer(429, gzip($quota), 'Content-Encoding: gzip')],
    '/gzip/400' => [answer(400, gzip($credit), 'content-encoding: GZip')],
    '/gzip/x' => [answer(403, gzip($credit), 'Content-Encoding: x-gzip')],
    (map { ("sk-2 /gzip/$_" => [answer(200, 'ok')]) } 400, 'x'),
    '/deflate' => [answer(429, deflated($quota, MAX_WBITS),
                          'Content-Encoding: deflate')],
    '/raw'    => [answer(429, deflated($quota, -MAX_WBITS),
                         'Content-Encoding: deflate')],
    '/identity' => [answer(429, $quota, 'Content-Encoding: identity')],
    '/gzip/two' => [substr(answer(429, gzip($quota), 'Content-Encoding: gzip'),
                           0, -20), \0.05, substr gzip($quota), -20],
    '/gzip/by/7' => [chunked(gzip($quota), 7, "0\r\n\r\n",
                             'Content-Encoding: gzip')],
    '/gzip/close' => ["HTTP/1.1 429 X\r\nContent-Encoding: gzip\r\n\r\n"
                      . gzip($quota), undef],
    '/gzip/near' => [answer(429, gzip(' ' x 2000 . $quota),
                            'Content-Encoding: gzip')],
    '/gzip/far' => [answer(429, gzip(' ' x 2048 . $quota),
                           'Content-Encoding: gzip')],
    '/gzip/cut' => [answer(429, substr(gzip($quota), 0, -9),
                           'Content-Encoding: gzip')],
    '/gzip/none' => [answer(429, $quota, 'Content-Encoding: gzip')],
    '/gzip/odd' => [answer(429, substr(gzip(' ' x 99), 0, 12) . "\377" x 99,
                           'Content-Encoding: gzip')],
    '/gzip/bomb' => ["HTTP/1.1 429 X\r\nContent-Encoding: gzip\r\n"
                     . "Content-Length: 9999\r\n\r\n"
                     . substr(gzip("\0" x 1e6), 0, 900), \1],
    '/br'     => [answer(429, $quota, 'Content-Encoding: br')],
    '/both'   => [answer(400, gzip($quota), 'Content-Encoding: gzip',
                         'Content-Encoding: deflate')],
);

add_block_preprocessor(sub {
    my ($block) = @_;
    my $pool = $block->x_pool // '';
    my $answers = join '', map { "location = /$_ { return $_ \"status $_\"; }" }
                               qw( 201 400 401 402 403 404 413 418 422 429 500
                                   502 503 504 529 );

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { key sk-1 id=a; $pool }
        server {
            listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            default_type application/json;
            add_header Retry-After \$http_after always;
            add_header retry-after-ms \$http_after_ms always;
            add_header x-ratelimit-remaining-requests \$http_left always;
            add_header x-ratelimit-reset-requests \$http_reset always;
            add_header x-ratelimit-remaining-tokens \$http_left_tokens always;
            add_header x-ratelimit-reset-tokens \$http_reset_tokens always;
            $answers
            location / { return 200 ok; }
            location /body/ {
                if (\$uri ~ ^/body/(400|403|404|429|500)\$) {
                    set \$s \$1;
                }
                if (\$http_authorization = sk-2) { return 200 ok; }
                if (\$s = 400) { return 400 \$http_body; }
                if (\$s = 403) { return 403 \$http_body; }
                if (\$s = 404) { return 404 \$http_body; }
                if (\$s = 429) { return 429 \$http_body; }
                if (\$s = 500) { return 500 \$http_body; }
            }
        }
        " . ($block->http_config // ''));
    $block->set_value('config', '
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        location / {
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
        location /script/ {
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization $sluice_key;
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/;
        }
        location /hasty/ {
            proxy_read_timeout 200ms;
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/;
        }
        location /down {
            proxy_pass http://127.0.0.1:1;
        }
        location = /pause {
            sluice_key off;
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/150ms;
        }
        ' . ($block->config // ''));
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: Retry-After, in seconds
--- request
GET /429
--- more_headers
After: 7
--- error_code: 429
--- response_headers
Retry-After: 7
--- x_members
p a state=cooling for=7000 reason=status status=429 cool=1
--- x_log
1: key "a" of pool "p" is cooling for 7 seconds after status 429



=== TEST 2: Retry-After, a date
--- request
GET /script/date
--- error_code: 429
--- x_members
p a state=cooling for=~^(29|28)[0-9]{3}$



=== TEST 3: Retry-After of what has been is no rest at all, and too little of one
--- request
GET /script/past
--- error_code: 429
--- x_members
p a state=cooling for=100



=== TEST 4: Retry-After of 0
--- request
GET /429
--- more_headers
After: 0
--- error_code: 429
--- x_members
p a state=cooling for=100



=== TEST 5: a negative one says nothing: the pool's own time
--- request
GET /429
--- more_headers
After: -7
--- error_code: 429
--- x_members
p a state=cooling for=60000



=== TEST 6: nor does one that is no number
--- request
GET /429
--- more_headers
After: soon
--- error_code: 429
--- x_members
p a state=cooling for=60000



=== TEST 7: an absurd one is as long as the pool allows
--- x_pool: cooldown 429 5s max=20s;
--- request
GET /429
--- more_headers
After: 99999999999999999999999999
--- error_code: 429
--- x_members
p a state=cooling for=20000



=== TEST 8: milliseconds come before seconds
--- request
GET /429
--- more_headers
After: 7
After-Ms: 1500
--- error_code: 429
--- x_members
p a state=cooling for=1500



=== TEST 9: a limit's reset, if nothing of it remains
--- request
GET /429
--- more_headers
Left: 0
Reset: 6m0s
--- error_code: 429
--- x_members
p a state=cooling for=360000



=== TEST 10: a limit's reset, of which something remains, and late
--- request
GET /429
--- more_headers
Left: 3
Reset: 6m0s
--- error_code: 429
--- x_members
p a state=cooling for=60000



=== TEST 11: the other dialect, a time
--- request
GET /script/reset
--- error_code: 429
--- x_members
p a state=cooling for=~^(29|28)[0-9]{3}$



=== TEST 12: overloaded cools as well
--- request
GET /529
--- error_code: 529
--- x_members
p a state=cooling for=60000 status=529



=== TEST 13: a status that the operator says is one; and his are all there are
--- x_pool: cooldown 418 5s;
--- request eval
["GET /429", "GET /418"]
--- error_code eval
[429, 418]
--- x_members
p a state=cooling for=5000 status=418 client=1 cool=1



=== TEST 14: cooldown off: nothing cools
--- x_pool: cooldown off;
--- request eval
["GET /429", "GET /529", "GET /429"]
--- error_code eval
[429, 529, 429]
--- x_members
p a state=healthy client=2 error=1



=== TEST 15: repeated, it is longer each time, to a bound; a success ends that
--- x_pool: cooldown 429 100ms max=250ms;
--- request eval
["GET /429", "GET /pause", "GET /429", "GET /pause", "GET /pause", "GET /429"]
--- error_code eval
[429, 200, 429, 200, 200, 429]
--- x_members
p a state=cooling for=250 cool=3



=== TEST 16: a success between two: the second is a first one
--- x_pool: cooldown 429 100ms max=10s;
--- request eval
["GET /429", "GET /pause", "GET /ok", "GET /429"]
--- error_code eval
[429, 200, 200, 429]
--- x_members
p a state=cooling for=100 cool=2



=== TEST 17: a cooldown ends by itself
--- x_pool: cooldown 429 400ms;
--- request eval
["GET /429", "GET /ok", "GET /pause", "GET /pause", "GET /pause", "GET /ok"]
--- error_code eval
[429, 429, 200, 200, 200, 200]
--- x_members
p a state=healthy used=2 cool=1



=== TEST 18: two refusals in a row are no reason yet
--- request eval
["GET /401", "GET /401"]
--- error_code eval
[401, 401]
--- x_members
p a state=healthy denied=2



=== TEST 19: three are
--- request eval
["GET /401", "GET /401", "GET /401", "GET /ok"]
--- error_code eval
[401, 401, 401, 503]
--- x_members
p a state=disabled reason=status status=401 denied=3 used=3
--- x_log
1: key "a" of pool "p" is disabled after status 401



=== TEST 20: a success in between, and they are counted anew
--- request eval
["GET /401", "GET /401", "GET /ok", "GET /401", "GET /401"]
--- error_code eval
[401, 401, 200, 401, 401]
--- x_members
p a state=healthy denied=4



=== TEST 21: as many as the operator says
--- x_pool: disable 401 after=1;
--- request eval
["GET /403", "GET /401"]
--- error_code eval
[403, 401]
--- x_members
p a state=disabled client=1 denied=1



=== TEST 22: disable off
--- x_pool: disable off;
--- request eval
["GET /401", "GET /403", "GET /401", "GET /401"]
--- error_code eval
[401, 403, 401, 401]
--- x_members
p a state=healthy client=4



=== TEST 23: payment required
--- request
GET /402
--- error_code: 402
--- x_members
p a state=exhausted for=86400000 reason=status status=402 quota=1
--- x_log
1: key "a" of pool "p" is exhausted for 86400 seconds after status 402



=== TEST 24: for less, if the upstream says so
--- x_pool: exhaust 402 for=1h;
--- request
GET /402
--- more_headers
After: 60
--- error_code: 402
--- x_members
p a state=exhausted for=60000



=== TEST 25: afterwards one request looks whether there is money
--- x_pool: exhaust 402 for=400ms;
--- request eval
["GET /402", "GET /ok", "GET /pause", "GET /pause", "GET /pause", "GET /402", "GET /pause", "GET /pause", "GET /pause", "GET /ok"]
--- error_code eval
[402, 503, 200, 200, 200, 402, 200, 200, 200, 200]
--- x_members
p a state=healthy used=3 quota=2



=== TEST 26: exhaust off: neither a status nor a body
--- x_pool: exhaust off;
--- request eval
["GET /402", "GET /body/400"]
--- more_headers
Body: {"code":"insufficient_quota"}
--- error_code eval
[402, 400]
--- x_members
p a state=healthy client=2



=== TEST 27: a body that says so: with 429
--- request
GET /body/429
--- more_headers
Body: {"error":{"code":"insufficient_quota"}}
--- error_code: 429
--- x_members
p a state=exhausted for=86400000 reason=body status=429 quota=1
--- x_log
1: key "a" of pool "p" is exhausted for 86400 seconds after status 429 and a body that says so



=== TEST 28: with 400
--- x_pool: key sk-2 id=b backup;
--- request
GET /body/400
--- more_headers
Body: {"type":"error","error":{"message":"Your credit balance is too low to access"}}
--- error_code: 200
--- x_members
p a state=exhausted reason=body status=400
p b state=healthy used=1



=== TEST 29: with 403
--- x_pool: key sk-2 id=b backup;
--- request
GET /body/403
--- more_headers
Body: {"error":{"type":"billing_error"}}
--- error_code: 200
--- x_members
p a state=exhausted reason=body status=403 denied=0
p b state=healthy used=1



=== TEST 30: not with a status that is about something else
--- request eval
["GET /body/404", "GET /body/500"]
--- more_headers
Body: {"error":{"code":"insufficient_quota"}}
--- error_code eval
[404, 500]
--- x_members
p a state=healthy client=1 error=1 quota=0



=== TEST 31: what a client has said comes back in an error: it is no sign
--- request eval
["GET /body/400", "GET /body/429"]
--- more_headers
Body: {"error":{"message":"unknown model \"insufficient_quota\", insufficient_quota"}}
--- error_code eval
[400, 429]
--- x_members
p a state=cooling reason=status client=1 cool=1 quota=0



=== TEST 32: the operator's own words, in place of ours
--- x_pool: key sk-2 id=b backup; exhaust 402 'match=out of gas' 'match="broke"';
--- request eval
["GET /body/400", "GET /body/400"]
--- more_headers eval
["Body: {\"code\":\"insufficient_quota\"}", "Body: we are out of gas!"]
--- error_code eval
[400, 200]
--- x_members
p a state=exhausted reason=body client=1
p b state=healthy used=1



=== TEST 33: a body in two packets
--- request
GET /script/two
--- error_code: 429
--- response_body: {"error":{"code":"insufficient_quota"}}
--- x_members
p a state=exhausted reason=body status=429



=== TEST 34: the header in two
--- request
GET /script/header
--- error_code: 429
--- response_body: {"error":{"code":"insufficient_quota"}}
--- x_members
p a state=exhausted reason=body status=429



=== TEST 35: in chunks
--- request
GET /script/chunks
--- error_code: 429
--- response_body: {"error":{"code":"insufficient_quota"}}
--- x_members
p a state=exhausted reason=body status=429



=== TEST 36: chunks that end with a trailer are not waited for
--- request
GET /hasty/trailer
--- error_code: 429
--- response_body_like: no
--- x_members
p a state=cooling reason=status status=429



=== TEST 37: to the end of the connection
--- request
GET /script/close
--- error_code: 429
--- response_body: {"error":{"code":"insufficient_quota"}}
--- x_members
p a state=exhausted reason=body status=429



=== TEST 38: a body that is cut off: the status is known all the same
--- request
GET /script/short
--- error_code_like: ^(429|502)$
--- x_members
p a state=cooling for=7000 cool=1



=== TEST 39: or stalls
--- request
GET /hasty/stalls
--- error_code_like: ^(429|504)$
--- x_members
p a state=cooling for=7000 cool=1



=== TEST 40: only so much of it is looked at
--- request
GET /script/far
--- error_code: 429
--- x_members
p a state=cooling reason=status



=== TEST 41: and that to its end
--- request
GET /script/near
--- error_code: 429
--- x_members
p a state=exhausted reason=body



=== TEST 42: an answer that is compressed says the same
--- request
GET /script/gzip
--- error_code: 429
--- x_members
p a state=exhausted for=86400000 reason=body status=429



=== TEST 43: an answer to HEAD has no body
--- request
HEAD /script/short
--- error_code: 429
--- x_members
p a state=cooling for=7000



=== TEST 44: errors in a row open the breaker
--- x_pool: breaker errors=3 window=10s open=5s;
--- request eval
["GET /500", "GET /502", "GET /503", "GET /ok"]
--- error_code eval
[500, 502, 503, 503]
--- x_members
p a state=cooling for=5000 reason=errors status=503 error=3 used=3
--- x_log
1: key "a" of pool "p" is cooling for 5 seconds after errors, the last with status 503



=== TEST 45: a success in between, and they are counted anew
--- x_pool: breaker errors=2 window=10s open=5s;
--- request eval
["GET /500", "GET /ok", "GET /500"]
--- error_code eval
[500, 200, 500]
--- x_members
p a state=healthy error=2



=== TEST 46: the client's errors between two are no success, and no error
--- x_pool: breaker errors=2 window=10s open=5s;
--- request eval
["GET /500", "GET /404", "GET /400", "GET /500"]
--- error_code eval
[500, 404, 400, 500]
--- x_members
p a state=cooling reason=errors error=2 client=2



=== TEST 47: errors that are too far apart
--- x_pool: breaker errors=2 window=100ms open=5s;
--- request eval
["GET /500", "GET /pause", "GET /500"]
--- error_code eval
[500, 200, 500]
--- x_members
p a state=healthy error=2



=== TEST 48: no answer in time
--- x_pool: breaker errors=1 window=10s open=5s;
--- request
GET /hasty/late
--- error_code: 504
--- x_members
p a state=cooling reason=errors status=0 timeout=1 error=0
--- x_log
1: key "a" of pool "p" is cooling for 5 seconds after errors, the last with no answer



=== TEST 49: no connection
--- x_pool: breaker errors=1 window=10s open=5s;
--- request
GET /down
--- error_code: 502
--- x_members
p a state=cooling reason=errors status=0 connect=1 error=0



=== TEST 50: a connection, and no answer
--- x_pool: breaker errors=1 window=10s open=5s;
--- request
GET /script/cut
--- error_code: 502
--- x_members
p a state=cooling reason=errors status=0 error=1



=== TEST 51: an answer that is none
--- x_pool: breaker errors=1 window=10s open=5s;
--- config
    location = /odd {
        proxy_http_version 1.1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/long;
    }
--- request
GET /odd
--- error_code: 502
--- x_members
p a state=cooling reason=errors error=1



=== TEST 52: breaker off
--- x_pool: breaker off;
--- request eval
["GET /500", "GET /500", "GET /500", "GET /500", "GET /500", "GET /500"]
--- error_code eval
[500, 500, 500, 500, 500, 500]
--- x_members
p a state=healthy error=6



=== TEST 53: half open: one request looks, and no other one
--- x_pool: breaker errors=1 window=10s open=100ms max=10s;
--- request eval
["GET /500", "GET /pause"]
--- error_code eval
[500, 200]
--- x_curl
+0 -w '%{http_code}\n' http://127.0.0.1:$SERVER/script/300ms
+100 -w '%{http_code}\n' -o /dev/null http://127.0.0.1:$SERVER/ok
+100 -w '%{http_code}\n' -o /dev/null http://127.0.0.1:$SERVER/ok
+500 -w '%{http_code}\n' http://127.0.0.1:$SERVER/ok
--- x_curl_out
ok200
503
503
ok200
--- x_members
p a state=healthy used=3 error=1



=== TEST 54: half open: its failure opens it for twice as long
--- x_pool: breaker errors=2 window=10s open=100ms max=10s;
--- request eval
["GET /500", "GET /500", "GET /pause", "GET /500", "GET /ok"]
--- error_code eval
[500, 500, 200, 500, 503]
--- x_members
p a state=cooling for=200 reason=errors used=3 error=3



=== TEST 55: half open: an error of the client's says nothing, the next may look
--- x_pool: breaker errors=1 window=10s open=100ms max=10s;
--- request eval
["GET /500", "GET /pause", "GET /404", "GET /ok"]
--- error_code eval
[500, 200, 404, 200]
--- x_members
p a state=healthy used=3 error=1 client=1



=== TEST 56: half open: a probe whose client leaves is nobody's failure
--- x_pool: breaker errors=1 window=10s open=100ms max=10s;
--- request eval
["GET /500", "GET /pause"]
--- error_code eval
[500, 200]
--- x_curl
--max-time 0.1 http://127.0.0.1:$SERVER/script/300ms
-w '%{http_code}\n' http://127.0.0.1:$SERVER/ok
--- x_curl_out
ok200
--- x_members
p a state=healthy used=3 error=1 left=1



=== TEST 57: half open: a probe that never answers has its own time
--- x_pool: breaker errors=1 window=10s open=100ms max=10s probe=100ms;
--- request eval
["GET /500", "GET /pause"]
--- error_code eval
[500, 200]
--- x_curl
+0 -w '%{http_code}\n' http://127.0.0.1:$SERVER/script/300ms
+200 -w '%{http_code}\n' http://127.0.0.1:$SERVER/ok
--- x_curl_out
ok200
ok200
--- x_members
p a state=healthy used=3 error=1



=== TEST 58: what is the client's never counts, however often
--- x_pool: breaker errors=1 window=10s open=5s;
--- request eval
["GET /400", "GET /404", "GET /413", "GET /422", "GET /400", "GET /404"]
--- error_code eval
[400, 404, 413, 422, 400, 404]
--- x_members
p a state=healthy client=6 error=0 denied=0 cool=0



=== TEST 59: a status that no line names: below 500 the client's, else an error
--- request eval
["GET /418", "GET /201", "GET /504"]
--- error_code eval
[418, 201, 504]
--- x_members
p a state=healthy client=1 error=1



=== TEST 60: a success that began before a refusal does not undo it
--- x_curl
+0 -w '%{http_code}\n' http://127.0.0.1:$SERVER/script/300ms
+50 -w '%{http_code}\n' -o /dev/null -H 'After: 9' http://127.0.0.1:$SERVER/429
--- x_curl_out
ok200
429
--- request
GET /201
--- error_code: 201
--- x_members
p a state=cooling for=9000



=== TEST 61: many that fail at once have failed once
--- x_pool: cooldown 429 5s max=10m; disable 401 after=2;
--- request
GET /201
--- error_code: 201
--- x_curl
+0 -o /dev/null http://127.0.0.1:$SERVER/script/401/300ms
+0 -o /dev/null http://127.0.0.1:$SERVER/script/401/300ms
+0 -o /dev/null http://127.0.0.1:$SERVER/script/401/300ms
+50 -o /dev/null http://127.0.0.1:$SERVER/script/429/300ms
+50 -o /dev/null http://127.0.0.1:$SERVER/script/429/300ms
--- x_curl_out
--- x_members
p a state=cooling for=9000 denied=3 cool=2



=== TEST 62: with 400 and 403, which a client would get again and again
--- x_pool: key sk-2 id=b backup;
--- request eval
["GET /script/gzip/400", "GET /script/gzip/x"]
--- error_code eval
[200, 200]
--- x_members
p a state=exhausted reason=body status=400 used=1
p b state=healthy used=2



=== TEST 63: in other words for it
--- x_pool: key sk-2 id=b backup;
--- request
GET /script/gzip/x
--- error_code: 200
--- x_members
p a state=exhausted reason=body status=403
p b state=healthy used=1



=== TEST 64: deflate
--- request
GET /script/deflate
--- error_code: 429
--- x_members
p a state=exhausted reason=body



=== TEST 65: deflate, as some understand it
--- request
GET /script/raw
--- error_code: 429
--- x_members
p a state=exhausted reason=body



=== TEST 66: a coding that is none
--- request
GET /script/identity
--- error_code: 429
--- x_members
p a state=exhausted reason=body



=== TEST 67: compressed, in two packets
--- request
GET /script/gzip/two
--- error_code: 429
--- x_members
p a state=exhausted reason=body



=== TEST 68: compressed, in chunks
--- request
GET /script/gzip/by/7
--- error_code: 429
--- x_members
p a state=exhausted reason=body



=== TEST 69: compressed, to the end of the connection
--- request
GET /script/gzip/close
--- error_code: 429
--- x_members
p a state=exhausted reason=body



=== TEST 70: without its end
--- request
GET /script/gzip/cut
--- error_code: 429
--- x_members
p a state=exhausted reason=body



=== TEST 71: of what it says as much is looked at as of others
--- request
GET /script/gzip/near
--- error_code: 429
--- x_members
p a state=exhausted reason=body



=== TEST 72: and no more
--- request
GET /script/gzip/far
--- error_code: 429
--- x_members
p a state=cooling reason=status



=== TEST 73: what says that it is compressed, and is not
--- request
GET /script/gzip/none
--- error_code: 429
--- x_members
p a state=cooling reason=status



=== TEST 74: what is damaged
--- request
GET /script/gzip/odd
--- error_code: 429
--- x_members
p a state=cooling reason=status



=== TEST 75: what is much more than it seems is not waited for
--- request
GET /hasty/gzip/bomb
--- ignore_response
--- x_members
p a state=cooling reason=status
--- x_log
0: timed out) while reading response header



=== TEST 76: what nobody here can read is said once
--- x_pool: cooldown off;
--- request eval
["GET /script/br", "GET /script/both", "GET /script/br"]
--- error_code eval
[429, 400, 429]
--- x_members
p a state=healthy client=3
--- x_log
1: ~\[error\] .*neither by gzip nor by deflate: .*, pool "p" while



=== TEST 77: small chunks, with extensions
--- request
GET /script/by/7
--- error_code: 429
--- response_body: {"error":{"code":"insufficient_quota"}}
--- x_members
p a state=exhausted reason=body



=== TEST 78: of another size
--- request
GET /script/by/10
--- error_code: 429
--- x_members
p a state=exhausted reason=body



=== TEST 79: of a byte each
--- request
GET /script/by/1
--- error_code: 429
--- x_members
p a state=exhausted reason=body



=== TEST 80: of all but a byte
--- request
GET /script/by/38
--- error_code: 429
--- x_members
p a state=exhausted reason=body



=== TEST 81: what looks like the end of the chunks
--- request
GET /script/blank
--- error_code: 429
--- x_members
p a state=exhausted reason=body



=== TEST 82: chunks that are none
--- request
GET /hasty/broken
--- ignore_response
--- x_members
p a state=cooling reason=status
--- x_log
0: timed out) while reading response header



=== TEST 83: a chunk that has no end
--- request
GET /hasty/over
--- ignore_response
--- x_members
p a state=cooling reason=status
--- x_log
0: timed out) while reading response header



=== TEST 84: a limit's reset, and not what remains of it
--- request
GET /429
--- more_headers
Reset: 20s
--- error_code: 429
--- x_members
p a state=cooling for=20000 reason=status status=429



=== TEST 85: the other dialect
--- request
GET /script/unified
--- error_code: 429
--- x_members
p a state=cooling for=~^(30|29|28)[0-9]{3}$



=== TEST 86: too little remains
--- request
GET /429
--- more_headers
Left-Tokens: 3
Reset-Tokens: 6.24s
Left: 499
Reset: 8s
--- error_code: 429
--- x_members
p a state=cooling for=6240



=== TEST 87: a pool's own time that is shorter
--- x_pool: cooldown 429 5s;
--- request
GET /429
--- more_headers
Left-Tokens: 3
Reset-Tokens: 6.24s
--- error_code: 429
--- x_members
p a state=cooling for=5000



=== TEST 88: what nearly is whole is not asked at once
--- request
GET /429
--- more_headers
Left: 499
Reset: 12ms
--- error_code: 429
--- x_members
p a state=cooling for=1000



=== TEST 89: an answer that is about no limit has them by the way
--- request
GET /529
--- more_headers
Left: 499
Reset: 8s
Reset-Tokens: 20s
--- error_code: 529
--- x_members
p a state=cooling for=60000



=== TEST 90: nor does an account without money have some then
--- request
GET /402
--- more_headers
Reset: 8s
--- error_code: 402
--- x_members
p a state=exhausted for=86400000



=== TEST 91: even if that is what a 429 says
--- x_pool: cooldown 529; exhaust 429 for=1h;
--- request
GET /429
--- more_headers
Reset: 8s
--- error_code: 429
--- x_members
p a state=exhausted for=3600000



=== TEST 92: an answer that is well leaves its key alone
--- request
GET /201
--- more_headers
Left: 0
Reset: 20s
Reset-Tokens: 8s
--- error_code: 201
--- x_members
p a state=healthy
